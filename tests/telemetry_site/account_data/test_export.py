"""The data export: all data of a user in one file."""

import csv
import io
import json
import tracemalloc
from datetime import timedelta
from unittest.mock import Mock
from zipfile import ZipFile

import pytest
from django.apps import apps
from django.db import OperationalError
from django.utils import timezone

from accounts.models import Archive, AuditEvent, User
from accounts.users import data_exports
from devices.models import Device
from telemetry_site.account_data import export as data_export
from tests.factories import (
    NOW,
    CommandFactory,
    DeviceFactory,
    device_token,
    register_key,
    store_readings,
    user_token,
)
from tests.stopping import stop_after
from tests.telemetry.retention_rules import create_rule

pytestmark = pytest.mark.django_db
# Readings are read on a separate connection, which sees committed rows only.
reads_readings = pytest.mark.django_db(transaction=True)
PATH = "/api/v1/users/me/archive"


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.DATA_EXPORT_DIR = tmp_path / "archives"
    return settings.DATA_EXPORT_DIR


@pytest.fixture
def owner_with_data(device, owner):
    """The owner, with a row in every table."""
    store_readings(device, payloads=[{"temperature": n, "note": "=1+1"} for n in range(3)])
    register_key(device)
    create_rule(30, device=device)
    CommandFactory.create(device=device, payload={"delay": 5})
    Device.objects.filter(pk=device.pk).update(metadata={"room": "=cmd()"}, name="-5 °C, north")
    stranger = DeviceFactory.create(name="of-another-user")
    store_readings(stranger, payloads=[{"secret": 1}])
    CommandFactory.create(device=stranger, command_name="of-another-user")
    user_token(stranger.user)
    return owner


def open_export(user, tmp_path):
    path = tmp_path / "made.zip"
    data_export.write_export(user, path, now=NOW)
    return ZipFile(path)


class TestContent:
    def test_every_table_is_exported_as_json_and_csv(self, owner_with_data, tmp_path):
        with open_export(owner_with_data, tmp_path) as found:
            for name in data_export.TABLES:
                rows = json.loads(found.read(f"{name}.json"))
                cells = list(csv.reader(io.StringIO(found.read(f"{name}.csv").decode())))
                assert len(cells) == len(rows) + 1, name
                assert [tuple(row) for row in rows] == [tuple(cells[0])] * len(rows), name
            assert json.loads(found.read("profile.json"))[0]["username"] == "owner"
            assert json.loads(found.read("commands.json"))[0]["payload"] == {"delay": 5}

    @reads_readings
    def test_readings_are_exported_in_both_formats(self, owner_with_data, device, tmp_path):
        with open_export(owner_with_data, tmp_path) as found:
            names = [name for name in found.namelist() if name.startswith("readings/")]
            assert names == [
                f"readings/{str(device.pk)[:8]} -5_C_north.{f}" for f in ("ndjson", "csv")
            ]
            lines = found.read(names[0]).splitlines()
            assert [json.loads(line)["payload"]["temperature"] for line in lines] == [0, 1, 2]
            assert len(found.read(names[1]).splitlines()) == 4

    @reads_readings
    def test_the_export_contains_no_data_of_other_users_and_no_hashes(
        self, owner_with_data, device, tmp_path
    ):
        token = user_token(owner_with_data)
        device_token(device)
        hashes = [
            bytes(t.token_hash) for t in (*owner_with_data.tokens.all(), *device.tokens.all())
        ]
        with open_export(owner_with_data, tmp_path) as found:
            whole = b"".join(found.read(name) for name in found.namelist())
        assert b"of-another-user" not in whole
        assert owner_with_data.password.encode() not in whole
        assert token.encode() not in whole
        for digest in hashes:
            assert digest.hex().encode() not in whole
            assert digest not in whole

    def test_cells_that_look_like_formulas_are_escaped(self, owner_with_data, tmp_path):
        with open_export(owner_with_data, tmp_path) as found:
            cells = csv.reader(io.StringIO(found.read("devices.csv").decode()))
        assert "'-5 °C, north" in list(cells)[1]

    def test_a_user_without_data_gets_empty_tables(self, owner, tmp_path):
        with open_export(owner, tmp_path) as found:
            assert json.loads(found.read("devices.json")) == []
            assert found.read("devices.csv").startswith(b"id,name,")
            assert found.testzip() is None

    def test_every_table_that_refers_to_a_user_or_device_is_exported_or_listed_here(self):
        referring = {
            model.__name__
            for model in apps.get_models()
            for field in model._meta.concrete_fields
            if field.related_model in (User, Device)
        }
        assert referring == {
            *("AuditEvent", "Command", "Device", "DeviceToken", "Key", "RetentionRule", "Token"),
            *("Telemetry", "Session", "Registration", "SecondFactor", "CommandBatch", "Refusal"),
            # The export itself, data derived from readings, and internal tables.
            *(
                "Archive",
                "HourRollup",
                "DayRollup",
                "Horizon",
                "Delivery",
                "LogEntry",
                *("RecoveryCode", "Purge", "Watch"),
            ),
        }

    @reads_readings
    def test_memory_does_not_grow_with_the_number_of_readings(self, device, owner, tmp_path):
        def peak():
            tracemalloc.start()
            open_export(owner, tmp_path).close()
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return found

        store_readings(device, payloads=[{"note": "x" * 200}] * 1000)
        few = peak()
        for n in range(1, 5):
            first = NOW + timedelta(hours=n)
            store_readings(device, payloads=[{"note": "x" * 200}] * 2000, recorded_at=first)
        assert peak() < few + 500_000


class TestLifecycle:
    def test_an_export_is_built_by_the_worker_and_downloaded_by_its_owner(
        self, owner_api, owner_with_data
    ):
        assert owner_api.get(PATH).status_code == 404
        answer = owner_api.post(PATH)
        assert (answer.status_code, answer.json()["status"]) == (202, "waiting")
        assert owner_api.get(f"{PATH}/file").status_code == 404
        data_export.build_pending()
        told = owner_api.get(PATH).json()
        assert told["status"] == "ready"
        answer = owner_api.get(f"{PATH}/file")
        assert answer["Content-Type"] == "application/zip"
        assert "telemetry-owner-" in answer["Content-Disposition"]
        content = answer.getvalue()
        assert len(content) == told["size"]
        with ZipFile(io.BytesIO(content)) as found:
            assert found.testzip() is None

    def test_no_other_client_can_download_it(
        self, owner_api, stranger_api, anonymous_api, device_api
    ):
        owner_api.post(PATH)
        data_export.build_pending()
        for who, status in ((stranger_api, 404), (anonymous_api, 401), (device_api, 403)):
            assert who.get(PATH).status_code == status
            assert who.get(f"{PATH}/file").status_code == status

    def test_a_repeated_request_returns_the_pending_export(self, owner_api, owner):
        first, second = owner_api.post(PATH).json(), owner_api.post(PATH).json()
        assert first == second
        assert AuditEvent.objects.filter(action="user.data_requested").count() == 1

    def test_a_new_export_replaces_the_old_one(self, owner_api, folder, immediate_on_commit):
        for _ in range(2):
            owner_api.post(PATH)
            data_export.build_pending()
            Archive.objects.update(requested_at=timezone.now() - data_exports.REQUEST_INTERVAL)
        assert [file.suffix for file in folder.iterdir()] == [".zip"]
        assert Archive.objects.get().status == "ready"

    def test_an_export_can_be_requested_once_a_day(self, owner):
        now = timezone.now()
        data_exports.request_export(owner, now=now)
        data_export.build_pending()
        with pytest.raises(data_exports.TooManyExports) as caught:
            data_exports.request_export(owner, now=now + timedelta(hours=23))
        assert caught.value.retry_after == 3600
        data_exports.request_export(owner, now=now + timedelta(days=1))
        assert Archive.objects.get().status == "waiting"

    def test_a_second_request_within_a_day_is_429_and_keeps_the_existing_export(self, owner_api):
        owner_api.post(PATH)
        data_export.build_pending()
        answer = owner_api.post(PATH)
        assert answer.status_code == 429
        assert answer.json()["type"] == "urn:telemetry:problem:limit:archive"
        assert 86_000 < int(answer["Retry-After"]) <= 86_400
        assert owner_api.get(f"{PATH}/file").getvalue()

    @pytest.mark.parametrize("pieces", [0, 1, 5, 20])
    def test_an_interrupted_export_is_built_later(self, owner_api, owner_with_data, folder, pieces):
        owner_api.post(PATH)
        data_export.build_pending(should_stop=stop_after(pieces))
        assert owner_api.get(PATH).json()["status"] == "waiting"
        assert list(folder.iterdir()) == []
        data_export.build_pending()
        assert owner_api.get(PATH).json()["status"] == "ready"

    def test_the_draft_of_a_killed_worker_is_deleted(self, owner_api, folder):
        owner_api.post(PATH)
        draft = data_exports.export_dir() / f"{Archive.objects.get().pk}.draft"
        draft.write_bytes(b"half of it")
        data_export.build_pending()
        assert owner_api.get(PATH).json()["status"] == "ready"
        assert [file.suffix for file in folder.iterdir()] == [".zip"]

    def test_two_workers_do_not_build_the_same_export(self, owner_api):
        owner_api.post(PATH)
        with data_exports.export_lock() as alone:
            assert alone
            data_export.build_pending()
            assert owner_api.get(PATH).json()["status"] == "waiting"
        data_export.build_pending()
        assert owner_api.get(PATH).json()["status"] == "ready"

    def test_after_a_lost_database_connection_the_export_is_built_later(
        self, owner_api, monkeypatch
    ):
        owner_api.post(PATH)
        lost = OperationalError("the connection is lost")
        with monkeypatch.context() as away:
            away.setattr(data_export, "write_export", Mock(side_effect=lost))
            with pytest.raises(OperationalError):
                data_export.build_pending()
        assert owner_api.get(PATH).json()["status"] == "waiting"

    def test_an_export_that_is_not_built_within_a_day_fails(self, owner_api):
        owner_api.post(PATH)
        Archive.objects.update(requested_at=timezone.now() - data_exports.MAX_PENDING_TIME)
        data_export.build_pending()
        assert owner_api.get(PATH).json()["status"] == "failed"
        assert owner_api.post(PATH).json()["status"] == "waiting"

    def test_an_expired_export_is_deleted(self, owner_api, owner, folder, immediate_on_commit):
        owner_api.post(PATH)
        data_export.build_pending()
        later = timezone.now() + data_exports.RETENTION
        assert data_exports.get_for_user(owner, now=later) is None
        with pytest.raises(Archive.DoesNotExist):
            data_exports.get_ready(owner, now=later)
        data_exports.delete_expired(now=later)
        assert not Archive.objects.exists()
        assert list(folder.iterdir()) == []

    def test_a_file_without_a_row_is_deleted(self, owner_api, folder):
        owner_api.post(PATH)
        data_export.build_pending()
        (data_exports.export_dir() / "0d5c5ee8.draft").touch()
        data_exports.delete_expired(now=timezone.now())
        assert [file.suffix for file in folder.iterdir()] == [".zip"]

    def test_files_are_readable_only_by_the_user_of_the_process(self, owner_api, folder):
        owner_api.post(PATH)
        data_export.build_pending()
        (file,) = folder.iterdir()
        assert file.stat().st_mode & 0o077 == 0
        assert file.parent.stat().st_mode & 0o077 == 0

    def test_a_failed_export_is_reported_and_the_next_one_is_built(
        self, owner_api, stranger_api, owner, monkeypatch, caplog
    ):
        owner_api.post(PATH)
        stranger_api.post(PATH)
        write = data_export.write_export

        def write_or_not(user, path, **how):
            if user == owner:
                raise OSError("the disk is full")
            write(user, path, **how)

        monkeypatch.setattr(data_export, "write_export", write_or_not)
        data_export.build_pending()
        assert owner_api.get(PATH).json()["status"] == "failed"
        assert stranger_api.get(PATH).json()["status"] == "ready"
        assert "failed" in caplog.text
        monkeypatch.undo()
        owner_api.post(PATH)
        data_export.build_pending()
        assert owner_api.get(PATH).json()["status"] == "ready"

    def test_an_export_whose_file_is_missing_is_404(self, owner, owner_api):
        owner_api.post(PATH)
        data_export.build_pending()
        data_exports.file_path(Archive.objects.get()).unlink()
        assert owner_api.get(f"{PATH}/file").status_code == 404


class TestPage:
    path = "/account/data"

    def test_the_export_is_requested_and_downloaded_on_the_page(self, owner_client, owner):
        assert b"Create export" in owner_client.get(self.path).content
        page = owner_client.post(self.path, follow=True).content
        assert b"The export is being created." in page
        data_export.build_pending()
        assert b"Download (" in owner_client.get(self.path).content
        answer = owner_client.get("/account/data/archive.zip")
        assert ZipFile(io.BytesIO(answer.getvalue())).testzip() is None

    def test_a_second_request_within_a_day_shows_when_the_next_is_possible(self, owner_client):
        owner_client.post(self.path)
        data_export.build_pending()
        page = owner_client.get(self.path)
        assert b"Create new export" not in page.content
        assert b"You can request one export per day." in page.content
        answer = owner_client.post(self.path)
        assert answer.status_code == 429
        assert int(answer["Retry-After"]) > 86_000
        assert b"You have already requested a data export in the last 24 hours." in answer.content

    def test_the_download_link_does_not_work_for_other_users(
        self, owner_client, stranger_client, client
    ):
        owner_client.post(self.path)
        data_export.build_pending()
        assert stranger_client.get("/account/data/archive.zip").status_code == 404
        assert client.get("/account/data/archive.zip").status_code == 302
