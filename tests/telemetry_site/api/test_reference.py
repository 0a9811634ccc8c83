"""The help pages and the compression of pages."""

import gzip

import pytest
from django.test import Client
from django.utils.html import escape

from telemetry_site.api import problems, reference


def test_every_operation_of_the_schema_is_on_the_reference_page(client: Client) -> None:
    reference.operations.cache_clear()
    schema = client.get("/api/v1/schema").json()
    page = client.get("/help/api").content.decode()
    for path, methods in schema["paths"].items():
        assert f"<code>{path}</code>" in page
        for operation in methods.values():
            assert f'id="{operation["operationId"]}"' in page


def test_an_example_follows_the_schema() -> None:
    found = {one.anchor: one for _tag, group in reference.operations() for one in group}
    body = found["devices_create"].body
    assert set(body) >= {"name", "device_type", "expected_interval"}
    series = found["devices_telemetry_series_retrieve"]
    assert {p.name for p in series.parameters} >= {"key", "from", "to", "points"}
    assert series.answers[0].example["t"] == [1]


def test_help_is_public(client: Client) -> None:
    assert client.get("/help").status_code == 200


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503])
def test_an_error_page_shows_a_message_and_the_request_id(status: int, rf: object) -> None:
    request = rf.get("/somewhere")  # type: ignore[attr-defined]
    request.request_id = "7c0ffee"
    answer = problems.error_response(request, status)
    page = answer.content.decode()
    assert answer.status_code == status
    assert problems.TITLES[status] in page
    assert escape(problems.DETAILS[status]) in page
    assert "7c0ffee" in page


def test_pages_are_compressed_if_the_client_accepts_it(client: Client) -> None:
    plain = client.get("/help")
    short = client.get("/help", headers={"Accept-Encoding": "gzip"})
    assert not plain.has_header("Content-Encoding")
    assert short.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in short.headers["Vary"]
    assert b"Status of devices and commands" in gzip.decompress(short.content)
    assert len(short.content) < len(plain.content) / 2


def test_the_length_of_a_compressed_page_is_random(client: Client) -> None:
    headers = {"Accept-Encoding": "gzip"}
    lengths = {len(client.get("/help", headers=headers).content) for _ in range(20)}
    assert len(lengths) > 1
