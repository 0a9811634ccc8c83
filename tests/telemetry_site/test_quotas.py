"""Quotas of users, and a nearly full disk."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from accounts.models import Archive, AuditEvent, Token
from accounts.throttling import RateLimitExceeded
from accounts.tokens import services as tokens
from common import quotas, timestamps
from devices import services as device_services
from devices.models import Device
from telemetry.ingest import idempotency
from telemetry.models import Delivery, Telemetry
from telemetry.transfer import import_batches
from telemetry_site.account_data import export as data_export
from tests.concurrency import run_concurrently
from tests.conftest import Api
from tests.factories import DeviceFactory, UserFactory, device_token, user_token
from tests.telemetry.import_runs import Run, office, write

READING = {"telemetry_type": "quota", "payload": {"t": 1}}
INGEST = "/api/v1/device/telemetry"


@pytest.fixture
def full_disk(settings, monkeypatch):
    """Set a reserve larger than any disk."""
    settings.DISK_RESERVE = 2**62
    monkeypatch.setattr(quotas._DiskState, "checked_at", float("-inf"))
    monkeypatch.setattr(quotas._DiskState, "is_full", False)


@pytest.mark.django_db
class TestDevices:
    def test_a_device_over_the_quota_is_409_and_is_not_stored(
        self, owner, owner_api, device, settings
    ):
        settings.DEVICES_PER_USER = 2
        assert owner_api.post("/api/v1/devices", {"name": "second"}).status_code == 201
        answer = owner_api.post("/api/v1/devices", {"name": "third"})
        assert answer.status_code == 409
        assert answer.json()["type"] == "urn:telemetry:problem:quota-reached"
        assert "2 devices" in answer.json()["detail"]
        assert Device.objects.filter(user=owner).count() == 2

    def test_a_page_shows_that_the_quota_is_reached(
        self, owner, owner_client: Client, device, settings
    ):
        settings.DEVICES_PER_USER = 1
        form = {"name": "second", "device_type": "sensor", "expected_interval": "60"}
        answer = owner_client.post("/devices/new", form)
        assert answer.status_code == 409
        assert b"A user can have at most 1 devices" in answer.content

    def test_a_deleted_device_does_not_count(self, owner, owner_api, device, settings):
        settings.DEVICES_PER_USER = 1
        assert owner_api.delete(f"/api/v1/devices/{device.pk}").status_code == 204
        assert owner_api.post("/api/v1/devices", {"name": "second"}).status_code == 201

    def test_a_transferred_device_counts(self, owner, device, settings):
        settings.DEVICES_PER_USER = 1
        other = DeviceFactory.create(user=UserFactory.create())
        with pytest.raises(quotas.QuotaReached):
            device_services.transfer([other], owner, now=timezone.now())
        other.refresh_from_db()
        assert other.user != owner

    def test_a_device_over_the_quota_is_409_in_the_admin(
        self, owner, staff_client: Client, device, settings
    ):
        settings.DEVICES_PER_USER = 1
        form = {"user": owner.pk, "name": "second", "device_type": "sensor"}
        form |= {"expected_interval": "60", "metadata": "{}"}
        answer = staff_client.post("/admin/devices/device/add/", form)
        assert answer.status_code == 409
        assert Device.objects.filter(user=owner).count() == 1

    def test_an_import_over_the_quota_names_the_setting(self, owner, settings, tmp_path):
        settings.DEVICES_PER_USER = 0
        run = Run(write(tmp_path, office()))
        assert "DEVICES_PER_USER" in run.err
        assert not Device.objects.exists()


@pytest.mark.django_db
class TestTokens:
    def test_the_number_of_tokens_per_device_is_a_setting(self, owner_api, device, settings):
        settings.TOKENS_PER_DEVICE = 2
        path = f"/api/v1/devices/{device.pk}/tokens"
        made = [owner_api.post(path, {"label": str(n)}).status_code for n in range(3)]
        assert made == [201, 201, 409]

    def test_a_token_over_the_quota_is_409(self, owner, settings):
        settings.TOKENS_PER_USER = 3
        api = Api(user_token(owner))
        made = [api.post("/api/v1/tokens", {"label": str(n)}).status_code for n in range(3)]
        assert made == [201, 201, 409]

    def test_a_revoked_token_does_not_count(self, owner, settings):
        settings.TOKENS_PER_USER = 1
        token, _ = tokens.issue(owner, scope=tokens.Scope.AUTH, now=timezone.now())
        tokens.revoke(token)
        tokens.issue(owner, scope=tokens.Scope.AUTH, now=timezone.now())

    def test_mailed_links_do_not_count(self, owner, settings):
        settings.TOKENS_PER_USER = 1
        for _ in range(3):
            tokens.issue(owner, scope=tokens.Scope.PASSWORD_RESET, now=timezone.now())
        tokens.issue(owner, scope=tokens.Scope.AUTH, now=timezone.now())


@pytest.mark.django_db(transaction=True)
def test_concurrent_requests_do_not_exceed_the_quotas(owner, settings):
    settings.DEVICES_PER_USER, settings.TOKENS_PER_USER = 3, 3

    def add(number):
        with suppress(quotas.QuotaReached):
            device_services.create_device(owner, name=str(number))
        with suppress(quotas.QuotaReached):
            tokens.issue(owner, scope=tokens.Scope.AUTH, now=timezone.now())
        connections.close_all()

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(add, range(12)))
    assert Device.objects.filter(user=owner).count() == 3
    assert Token.objects.filter(user=owner, revoked=False).count() == 3


@pytest.mark.django_db
def test_long_values_are_in_the_audit_trail_with_size_and_hash_only(owner_api, device):
    for number in range(40):
        metadata = {"text": "x" * 15_000, "n": number}
        body = {"metadata": metadata}
        assert owner_api.patch(f"/api/v1/devices/{device.pk}", body).status_code == 200
    events = AuditEvent.objects.filter(action="device.changed")
    assert len(events) == 40
    assert all(len(str(event.before) + str(event.after)) < 1000 for event in events)
    newest = events.order_by("-created_at").first()
    assert "15,0" in str(newest.after)
    assert "SHA-256" in str(newest.after)
    assert newest.before != newest.after


@pytest.mark.django_db
def test_short_values_are_in_the_audit_trail(owner_api, device):
    body = {"metadata": {"room": "attic"}}
    owner_api.patch(f"/api/v1/devices/{device.pk}", body)
    assert AuditEvent.objects.get(action="device.changed").after == body


@pytest.mark.django_db
class TestDiskFull:
    @pytest.mark.parametrize("warm", [False, True])
    def test_readings_are_507_and_none_is_stored(self, device, full_disk, warm, settings):
        api = Api(device_token(device))
        if warm:
            # A cached token takes the fast path.
            settings.DISK_RESERVE = 0
            assert api.post(INGEST, READING).status_code == 201
            settings.DISK_RESERVE = 2**62
            quotas._DiskState.checked_at = float("-inf")
        before = Telemetry.objects.count()
        for body in (READING | {"payload": {"t": 2}}, [READING] * 3):
            answer = api.post(INGEST, body)
            assert (answer.status_code, answer["Retry-After"]) == (507, "60")
            assert answer.json()["type"] == "urn:telemetry:problem:disk-full"
        assert Telemetry.objects.count() == before

    def test_an_idempotency_key_is_not_stored(self, device, full_disk):
        answer = Api(device_token(device)).post(INGEST, READING, headers={"Idempotency-Key": "a"})
        assert answer.status_code == 507
        assert not Delivery.objects.exists()

    def test_an_import_is_507(self, owner_api, device, full_disk):
        path = f"/api/v1/devices/{device.pk}/telemetry/import"
        body = b"time,t\n2025-06-15T12:00:00Z,1\n"
        assert owner_api.post(path, body, content_type="text/csv").status_code == 507
        assert not Telemetry.objects.exists()

    def test_an_import_during_which_the_disk_fills_up_reports_the_stored_readings(
        self, owner_api, device, full_disk, monkeypatch
    ):
        answers = iter([False, True])
        monkeypatch.setattr(quotas, "is_disk_full", lambda: next(answers))
        monkeypatch.setattr(import_batches, "BATCH_SIZE", 2)
        rows = "".join(f"2025-06-15T12:00:0{n}Z,{n}\n" for n in range(5))
        path = f"/api/v1/devices/{device.pk}/telemetry/import"
        body = f"time,t\n{rows}".encode()
        answer = owner_api.post(path, body, content_type="text/csv")
        assert answer.status_code == 200
        assert answer.json()["accepted"] == Telemetry.objects.count() == 2
        assert "disk is full" in answer.json()["stopped"]

    def test_a_request_for_a_data_export_is_507(self, owner_api, owner_client, full_disk):
        assert owner_api.post("/api/v1/users/me/archive").status_code == 507
        assert owner_client.post("/account/data").status_code == 507
        assert not Archive.objects.exists()

    def test_a_data_export_in_progress_fails_and_leaves_no_file(
        self, owner_api, owner, full_disk, settings, tmp_path
    ):
        settings.DATA_EXPORT_DIR = tmp_path / "archives"
        Archive.objects.create(user=owner, requested_at=timezone.now())
        data_export.build_pending()
        assert Archive.objects.get().status == "failed"
        assert not list(settings.DATA_EXPORT_DIR.iterdir())

    def test_other_requests_work(self, owner, owner_api, owner_client, device, full_disk):
        assert owner_client.get("/").status_code == 200
        assert owner_api.get("/api/v1/devices").status_code == 200
        command = {"command_name": "reboot", "payload": {}}
        path = f"/api/v1/devices/{device.pk}/commands"
        assert owner_api.post(path, command).status_code == 201
        assert Api(device_token(device)).get("/api/v1/device/commands").status_code == 200
        assert owner_api.delete(f"/api/v1/devices/{device.pk}").status_code == 204
        assert Client().get("/readyz").status_code == 503

    def test_readings_are_accepted_again_when_space_is_free(self, device, full_disk, settings):
        api = Api(device_token(device))
        assert api.post(INGEST, READING).status_code == 507
        settings.DISK_RESERVE = 0
        quotas._DiskState.checked_at = float("-inf")
        assert api.post(INGEST, READING).status_code == 201


def test_free_space_is_checked_every_few_seconds_and_not_for_every_reading(full_disk, monkeypatch):
    looked = []
    monkeypatch.setattr(quotas, "free_bytes", lambda: looked.append(1) or 0)
    for _ in range(100):
        with pytest.raises(quotas.DiskFull):
            quotas.check_disk()
    assert len(looked) == 1


@pytest.mark.django_db
class TestIdempotencyKeys:
    def post(self, api: Api, key: str, value: int = 1):
        return api.post(
            INGEST, READING | {"payload": {"t": value}}, headers={"Idempotency-Key": key}
        )

    def test_keys_over_the_limit_of_a_device_are_429_and_store_nothing(self, device, settings):
        settings.RATE_LIMITS = {**settings.RATE_LIMITS, "idempotency-key": (3, 3600)}
        api = Api(device_token(device))
        answers = [self.post(api, str(number), number) for number in range(5)]
        assert [answer.status_code for answer in answers] == [201, 201, 201, 429, 429]
        assert answers[-1].json()["type"] == "urn:telemetry:problem:limit:idempotency-key"
        assert 0 < int(answers[-1]["Retry-After"]) <= 3600
        assert Delivery.objects.count() == 3
        assert Telemetry.objects.count() == 3
        assert api.post(INGEST, READING | {"payload": {"t": 9}}).status_code == 201

    def test_many_keys_for_one_reading_store_no_more_rows_than_the_limit(self, device, settings):
        settings.RATE_LIMITS = {**settings.RATE_LIMITS, "idempotency-key": (3, 3600)}
        api = Api(device_token(device))
        reading = READING | {"recorded_at": timestamps.format_timestamp(timezone.now())}
        for number in range(5):
            api.post(INGEST, reading, headers={"Idempotency-Key": str(number)})
        assert (Telemetry.objects.count(), Delivery.objects.count()) == (1, 3)

    def test_the_limit_of_one_device_does_not_affect_another(self, device, settings):
        settings.RATE_LIMITS = {**settings.RATE_LIMITS, "idempotency-key": (1, 3600)}
        api = Api(device_token(device))
        assert [self.post(api, key).status_code for key in ("a", "b")] == [201, 429]
        assert self.post(Api(device_token(DeviceFactory.create())), "b").status_code == 201


@pytest.mark.django_db(transaction=True)
def test_concurrent_requests_do_not_exceed_the_limit_of_keys(device, settings):
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "idempotency-key": (3, 3600)}
    now = timezone.now()
    outcomes = run_concurrently(
        *[
            partial(idempotency.get_or_record_receipt, device, str(number), b"", now=now)
            for number in range(8)
        ]
    )
    refused = [one for one in outcomes if isinstance(one, Exception)]
    assert [type(one) for one in refused] == [RateLimitExceeded] * 5
    assert Delivery.objects.count() == 3
