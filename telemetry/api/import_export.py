"""Readings as files: out of a device and into one."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile, TemporaryFile
from typing import IO, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import FileResponse
from django.utils import timezone
from django.utils.http import parse_header_parameters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import validate_time_zone
from common.api.parsers import UTF8_CHARSETS, iter_body
from common.api.serializers import StrictQuerySerializer
from common.request_pools import TRANSFERS, Rests, in_pool
from common.strict_json import JSONError
from devices.authentication import get_accessible_device
from devices.models import Device
from telemetry.api.query_params import time_range
from telemetry.ingest import outcome, validation
from telemetry.queries import buckets, series
from telemetry.retention import rules as retention
from telemetry.transfer import export, import_batches, import_parser

CSV, NDJSON = "text/csv", "application/x-ndjson"
MEDIA_TYPES: dict[export.Format, str] = {"csv": CSV, "ndjson": NDJSON}
STEPS = {"hour": buckets.HOUR, "day": buckets.DAY}
IN_MEMORY = 1024 * 1024
"""Bytes of a file that are kept off the disk."""


class LengthRequired(APIException):
    """Of a table that is cut off, the last number would be another."""

    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_detail = "Send the table's length (Content-Length)."


class ExportQuery(StrictQuerySerializer):
    format = serializers.ChoiceField(list(MEDIA_TYPES), default="csv")
    telemetry_type = serializers.RegexField(validation.TELEMETRY_TYPE, required=False)
    key = serializers.ListField(
        child=serializers.RegexField(series.KEY),
        max_length=series.KEYS_LIMIT,
        default=list,
        help_text="CSV with a column for each of these keys, for people; or which hours or days.",
    )

    resolution = serializers.ChoiceField(
        ["raw", *STEPS],
        default="raw",
        help_text="Of the keys, what their values come to in each hour or day (UTC).",
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {**super().get_fields(), **time_range(required=False)}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["key"] and attrs["format"] != "csv" and attrs["resolution"] == "raw":
            raise serializers.ValidationError({"key": ["Only CSV has columns."]}, "not-allowed")
        if attrs["resolution"] != "raw":
            if not attrs["key"]:
                raise serializers.ValidationError({"key": ["Of which values?"]}, "required")
            if "telemetry_type" in attrs:
                detail = {"telemetry_type": ["The keys say it."]}
                raise serializers.ValidationError(detail, "not-allowed")
        if "from" in attrs and "to" in attrs and attrs["from"] >= attrs["to"]:
            raise serializers.ValidationError({"to": ["Must be after `from`."]})
        return attrs


class ImportQuery(StrictQuerySerializer):
    dry_run = serializers.BooleanField(default=False, help_text="Check every row, store none.")


class TableQuery(ImportQuery):
    """How to read CSV; what is not told is guessed. Of no use to what an export has written."""

    telemetry_type = serializers.RegexField(validation.TELEMETRY_TYPE, default="measurement")
    time_zone = serializers.CharField(
        default="UTC", validators=[validate_time_zone], help_text="Of times without an offset."
    )
    time_column = serializers.CharField(default="", max_length=128)
    delimiter = serializers.CharField(
        default="", trim_whitespace=False, help_text='One character, or "tab".'
    )

    def validate_delimiter(self, name: str) -> str:
        try:
            return import_parser.parse_delimiter(name)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from None


class RefusedRow(serializers.Serializer[Any]):
    line = serializers.IntegerField(help_text="That it begins on, from 1.")
    pointer = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField()


class ImportAnswer(serializers.Serializer[Any]):
    dry_run = serializers.BooleanField()
    accepted = serializers.IntegerField(help_text="Of a dry run, how many would have been.")
    duplicates = serializers.IntegerField(help_text="Already stored; nothing was changed.")
    rejected_count = serializers.IntegerField()
    rejected = RefusedRow(
        many=True, help_text=f"Every fault of the first {import_batches.MAX_REPORTED} of them."
    )
    stopped = serializers.CharField(
        allow_blank=True, help_text="Why the rest of the file was not read."
    )


@in_pool(TRANSFERS)
class Export(APIView):
    """The readings as a file, oldest first, of any length."""

    @extend_schema(
        parameters=[ExportQuery],
        responses={(200, media_type): OpenApiTypes.STR for media_type in MEDIA_TYPES.values()},
    )
    def get(self, request: Request, device_id: UUID) -> FileResponse:
        device = get_accessible_device(request, device_id)
        query = ExportQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        selection = export.Selection(
            device, asked.get("telemetry_type", ""), asked.get("from"), asked.get("to")
        )
        format: export.Format = asked["format"]
        if asked["resolution"] != "raw":
            step = STEPS[asked["resolution"]]
            keys = list(dict.fromkeys(asked["key"]))
            pieces = export.export_buckets(
                selection, keys=keys, step=step, now=timezone.now(), format=format
            )
        elif asked["key"]:
            pieces = export.export_table(selection, keys=list(dict.fromkeys(asked["key"])))
        else:
            pieces = export.export_readings(selection, format=format)
        file = TemporaryFile(dir=settings.TRANSFERS)  # noqa: SIM115 - the response closes it
        try:
            export.write(pieces, file)
        except BaseException:
            file.close()
            raise
        return FileResponse(
            file,
            as_attachment=True,
            filename=export.file_name(device, format),
            content_type=f"{MEDIA_TYPES[format]}; charset=utf-8",
        )


@in_pool(TRANSFERS)
class Import(APIView):
    """Readings from a file, stored in batches: those already there are no fault."""

    body_limit_setting = "IMPORT_LIMIT"

    @extend_schema(
        parameters=[TableQuery],
        request=dict.fromkeys(MEDIA_TYPES.values(), OpenApiTypes.STR),
        responses=ImportAnswer,
    )
    def post(self, request: Request, device_id: UUID) -> Response:
        device = get_accessible_device(request, device_id)
        media_type = _media_type(request)
        query = (TableQuery if media_type == CSV else ImportQuery)(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        with _received(request) as file:
            tally = _import_rows(device, file, media_type, **asked)
        answer = {
            "dry_run": asked["dry_run"],
            "accepted": tally.accepted,
            "duplicates": tally.duplicates,
            "rejected_count": tally.refused,
            "rejected": [
                {"line": line, **fault._asdict()}
                for line, faults in tally.shown
                for fault in faults
            ],
            "stopped": tally.stopped,
        }
        response = Response(answer)
        if not asked["dry_run"]:
            outcome.attach_outcome(
                response,
                accepted=tally.accepted,
                duplicates=tally.duplicates,
                rejected=tally.refused,
            )
        return response


def _import_rows(
    device: Device,
    file: IO[bytes],
    media_type: str,
    *,
    dry_run: bool,
    telemetry_type: str = "",
    time_zone: str = "UTC",
    **columns: str,
) -> import_batches.ImportResult:
    """Raises InvalidReadings when there is not one reading in the file, DeviceGone."""
    now = timezone.now()
    try:
        is_json = media_type == NDJSON
        layout = (
            import_parser.ExportFormat.NDJSON
            if is_json
            else import_parser.detect_layout(file, **columns)
        )
    except import_parser.UnreadableFile as error:
        raise validation.InvalidReadings([JSONError("", "not-readable", str(error))]) from None
    rows = import_parser.parse_rows(
        file,
        layout=layout,
        device_id=device.pk,
        telemetry_type=telemetry_type,
        zone=ZoneInfo(time_zone),
        now=now,
        earliest=retention.earliest_allowed(device, now),
    )
    tally = import_batches.import_rows(device, rows, dry_run=dry_run, after_batch=Rests())
    if not (tally.accepted or tally.duplicates):
        faults = [
            fault._replace(pointer=f"/{line}{fault.pointer}")
            for line, found in tally.shown
            for fault in found
        ]
        why = tally.stopped or "There is no reading in the file."
        raise validation.InvalidReadings(faults or [JSONError("", "not-readable", why)])
    return tally


def _media_type(request: Request) -> str:
    media_type, parameters = parse_header_parameters(request.content_type or "")
    charset = parameters.get("charset", "utf-8").lower()
    if media_type not in MEDIA_TYPES.values() or charset not in UTF8_CHARSETS:
        raise UnsupportedMediaType(request.content_type or "")
    if media_type == CSV and "HTTP_TRANSFER_ENCODING" in request.META:
        # The server does not tell when chunks are missing, and half a number is one, too.
        raise LengthRequired
    return media_type


@contextmanager
def _received(request: Request) -> Iterator[IO[bytes]]:
    """The body as a file, inflated, whole before the first reading is stored."""
    limits = {"limit": settings.IMPORT_LIMIT, "inflated_limit": settings.IMPORT_LIMIT}
    with SpooledTemporaryFile(IN_MEMORY, dir=str(settings.TRANSFERS)) as file:
        for chunk in iter_body(request.stream or io.BytesIO(), request.META, **limits):
            file.write(chunk)
        yield file
