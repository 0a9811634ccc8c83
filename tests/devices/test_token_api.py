"""API for the tokens of a device."""

import pytest

from devices.models import DeviceToken
from tests.conftest import Api
from tests.devices.paths import device_path
from tests.factories import DeviceFactory, device_token, device_token_and_row
from tests.problems import error_pointers


class TestTokens:
    def test_a_new_token_is_returned_once_and_its_hash_never(self, device, owner_api):
        response = owner_api.post(f"{device_path(device)}/tokens", {"label": "workshop"})
        assert response.status_code == 201
        secret = response.json()["token"]
        listed = owner_api.get(f"{device_path(device)}/tokens")
        assert [token["label"] for token in listed.json()["results"]] == ["workshop"]
        assert set(listed.json()["results"][0]) == {
            "id", "label", "prefix", "revoked", "expires_at", "last_used_at", "created_at",
        }  # fmt: skip
        digest = bytes(DeviceToken.objects.get().token_hash)
        for shown in (response.content, listed.content):
            assert digest.hex().encode() not in shown
        assert secret.encode() not in listed.content
        assert Api(secret).get("/api/v1/device").status_code == 200

    def test_a_revoked_token_is_rejected_on_the_next_request(self, device, owner_api):
        token, secret = device_token_and_row(device)
        assert Api(secret).get("/api/v1/device").status_code == 200
        assert owner_api.delete(f"{device_path(device)}/tokens/{token.pk}").status_code == 204
        assert Api(secret).get("/api/v1/device").status_code == 401
        assert (
            owner_api.get(f"{device_path(device)}/tokens").json()["results"][0]["revoked"] is True
        )

    def test_rotation_returns_a_new_token_and_keeps_the_one_in_use(
        self, device, device_api, owner_api
    ):
        response = owner_api.post(f"{device_path(device)}/tokens/rotate")
        assert response.status_code == 201
        assert device_api.get("/api/v1/device").status_code == 200
        assert Api(response.json()["token"]).get("/api/v1/device").status_code == 200

    def test_the_eleventh_token_is_409(self, device, owner_api):
        for _ in range(10):
            assert owner_api.post(f"{device_path(device)}/tokens").status_code == 201
        response = owner_api.post(f"{device_path(device)}/tokens")
        assert response.status_code == 409
        assert response.json()["type"] == "urn:telemetry:problem:too-many-tokens"

    def test_a_token_of_another_device_is_404(self, owner, device, owner_api):
        token, secret = device_token_and_row(DeviceFactory.create(user=owner))
        assert owner_api.delete(f"{device_path(device)}/tokens/{token.pk}").status_code == 404
        assert Api(secret).get("/api/v1/device").status_code == 200

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({"label": "x" * 101}, "/label"),
            ({"scope": "all"}, "/scope"),
            ({"label": None}, "/label"),
        ],
    )
    def test_an_invalid_token_request_is_422(self, device, owner_api, body, pointer):
        assert error_pointers(owner_api.post(f"{device_path(device)}/tokens", body)) == [pointer]

    def test_tokens_are_paginated(self, device, owner_api):
        for _ in range(5):
            device_token(device)
        first = owner_api.get(f"{device_path(device)}/tokens", {"limit": 3}).json()
        second = owner_api.get(f"{device_path(device)}/tokens", {"cursor": first["next"]}).json()
        assert len(first["results"]) == 3
        assert len({token["id"] for token in first["results"] + second["results"]}) == 5
        assert second["next"] is None
