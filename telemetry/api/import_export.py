"""API endpoints that export the readings of a device to a file and import them from one."""

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
from common.request_pools import TRANSFERS, PauseForDevices, in_pool
from common.strict_json import JSONError
from devices.authentication import get_accessible_device
from devices.models import Device
from telemetry.api.query_params import time_range
from telemetry.ingest import outcome, validation
from telemetry.queries import buckets, series
from telemetry.retention import rules as retention
from telemetry.transfer import export, import_batches, import_layout, import_parser

CSV, NDJSON = "text/csv", "application/x-ndjson"
MEDIA_TYPES: dict[export.Format, str] = {"csv": CSV, "ndjson": NDJSON}
STEPS = {"hour": buckets.HOUR, "day": buckets.DAY}
MAX_MEMORY_BYTES = 1024 * 1024
"""A larger file is written to disk."""


class LengthRequired(APIException):
    """CSV needs its length: if the body were cut off, the last number could be wrong."""

    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_detail = "CSV requires the header Content-Length."


class ExportQuerySerializer(StrictQuerySerializer):
    format = serializers.ChoiceField(list(MEDIA_TYPES), default="csv")
    telemetry_type = serializers.RegexField(validation.TELEMETRY_TYPE, required=False)
    key = serializers.ListField(
        child=serializers.RegexField(series.KEY),
        max_length=series.KEYS_LIMIT,
        default=list,
        help_text="CSV with a column for each of these keys; with `resolution`, the keys whose "
        "aggregates are exported.",
    )

    resolution = serializers.ChoiceField(
        ["raw", *STEPS],
        default="raw",
        help_text="Average, minimum, maximum and count of each key by hour or day (UTC).",
    )

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {**super().get_fields(), **time_range(required=False)}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["key"] and attrs["format"] != "csv" and attrs["resolution"] == "raw":
            raise serializers.ValidationError(
                {"key": ["Only allowed with the format csv."]}, "not-allowed"
            )
        if attrs["resolution"] != "raw":
            if not attrs["key"]:
                raise serializers.ValidationError(
                    {"key": ["Required with this resolution."]}, "required"
                )
            if "telemetry_type" in attrs:
                detail = {
                    "telemetry_type": ["Not allowed with this resolution; the keys have the type."]
                }
                raise serializers.ValidationError(detail, "not-allowed")
        if "from" in attrs and "to" in attrs and attrs["from"] >= attrs["to"]:
            raise serializers.ValidationError({"to": ["Must be after `from`."]})
        return attrs


class ImportQuerySerializer(StrictQuerySerializer):
    dry_run = serializers.BooleanField(
        default=False, help_text="Check every row, but store nothing."
    )


class CSVImportQuerySerializer(ImportQuerySerializer):
    """Options for CSV; empty options are guessed. Exported files do not need them."""

    telemetry_type = serializers.RegexField(validation.TELEMETRY_TYPE, default="measurement")
    time_zone = serializers.CharField(
        default="UTC",
        validators=[validate_time_zone],
        help_text="Time zone of times without an offset.",
    )
    time_column = serializers.CharField(default="", max_length=128)
    delimiter = serializers.CharField(
        default="", trim_whitespace=False, help_text='One character, or "tab".'
    )

    def validate_delimiter(self, name: str) -> str:
        try:
            return import_layout.parse_delimiter(name)
        except ValueError as error:
            raise serializers.ValidationError(str(error)) from None


class RejectedRowSerializer(serializers.Serializer[Any]):
    line = serializers.IntegerField(help_text="First line of the row, counted from 1.")
    pointer = serializers.CharField()
    code = serializers.CharField()
    detail = serializers.CharField()


class ImportResultSerializer(serializers.Serializer[Any]):
    dry_run = serializers.BooleanField()
    accepted = serializers.IntegerField(
        help_text="Readings stored; in a dry run, readings that would be stored."
    )
    duplicates = serializers.IntegerField(
        help_text="Readings that were already stored; nothing was changed."
    )
    rejected_count = serializers.IntegerField()
    rejected = RejectedRowSerializer(
        many=True, help_text=f"All errors of the first {import_batches.MAX_REPORTED} rejected rows."
    )
    stopped = serializers.CharField(
        allow_blank=True, help_text="Why the rest of the file was not read; empty if it was."
    )


@in_pool(TRANSFERS)
class ExportView(APIView):
    """Export the readings to a file, oldest first."""

    @extend_schema(
        parameters=[ExportQuerySerializer],
        responses={(200, media_type): OpenApiTypes.STR for media_type in MEDIA_TYPES.values()},
    )
    def get(self, request: Request, device_id: UUID) -> FileResponse:
        device = get_accessible_device(request, device_id)
        query = ExportQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        params = query.validated_data
        selection = export.Selection(
            device, params.get("telemetry_type", ""), params.get("from"), params.get("to")
        )
        format: export.Format = params["format"]
        if params["resolution"] != "raw":
            step = STEPS[params["resolution"]]
            keys = list(dict.fromkeys(params["key"]))
            chunks = export.export_buckets(
                selection, keys=keys, step=step, now=timezone.now(), format=format
            )
        elif params["key"]:
            chunks = export.export_table(selection, keys=list(dict.fromkeys(params["key"])))
        else:
            chunks = export.export_readings(selection, format=format)
        file = TemporaryFile(dir=settings.TRANSFERS)  # noqa: SIM115 - the response closes it
        try:
            export.write(chunks, file)
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
class ImportView(APIView):
    """Import the readings of a file in batches; readings that are already stored are skipped."""

    body_limit_setting = "IMPORT_LIMIT"

    @extend_schema(
        parameters=[CSVImportQuerySerializer],
        request=dict.fromkeys(MEDIA_TYPES.values(), OpenApiTypes.STR),
        responses=ImportResultSerializer,
    )
    def post(self, request: Request, device_id: UUID) -> Response:
        device = get_accessible_device(request, device_id)
        media_type = _media_type(request)
        query = (CSVImportQuerySerializer if media_type == CSV else ImportQuerySerializer)(
            data=request.query_params
        )
        query.is_valid(raise_exception=True)
        params = query.validated_data
        with _body_file(request) as file:
            result = _import_rows(device, file, media_type, **params)
        content = {
            "dry_run": params["dry_run"],
            "accepted": result.accepted,
            "duplicates": result.duplicates,
            "rejected_count": result.rejected,
            "rejected": [
                {"line": line, **fault._asdict()}
                for line, faults in result.reported
                for fault in faults
            ],
            "stopped": result.error,
        }
        response = Response(content)
        if not params["dry_run"]:
            outcome.attach_outcome(
                response,
                accepted=result.accepted,
                duplicates=result.duplicates,
                rejected=result.rejected,
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
    """Import the readings. Raises InvalidReadings if there is none in the file, DeviceDeleted."""
    now = timezone.now()
    try:
        is_json = media_type == NDJSON
        layout = (
            import_layout.ExportFormat.NDJSON
            if is_json
            else import_layout.detect_layout(file, **columns)
        )
    except import_layout.UnreadableFile as error:
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
    result = import_batches.import_rows(
        device, rows, dry_run=dry_run, after_batch=PauseForDevices()
    )
    if not (result.accepted or result.duplicates):
        faults = [
            fault._replace(pointer=f"/{line}{fault.pointer}")
            for line, row_faults in result.reported
            for fault in row_faults
        ]
        detail = result.error or "The file has no readings."
        raise validation.InvalidReadings(faults or [JSONError("", "not-readable", detail)])
    return result


def _media_type(request: Request) -> str:
    media_type, parameters = parse_header_parameters(request.content_type or "")
    charset = parameters.get("charset", "utf-8").lower()
    if media_type not in MEDIA_TYPES.values() or charset not in UTF8_CHARSETS:
        raise UnsupportedMediaType(request.content_type or "")
    if media_type == CSV and "HTTP_TRANSFER_ENCODING" in request.META:
        # The server cannot detect missing chunks, and part of a number is also a number.
        raise LengthRequired
    return media_type


@contextmanager
def _body_file(request: Request) -> Iterator[IO[bytes]]:
    """Write the decompressed body to a file, completely, before any reading is stored."""
    limits = {"limit": settings.IMPORT_LIMIT, "inflated_limit": settings.IMPORT_LIMIT}
    with SpooledTemporaryFile(MAX_MEMORY_BYTES, dir=str(settings.TRANSFERS)) as file:
        for chunk in iter_body(request.stream or io.BytesIO(), request.META, **limits):
            file.write(chunk)
        yield file
