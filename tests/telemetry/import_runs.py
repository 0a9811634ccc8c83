"""Files to import and the output of the import."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

from django.core.management import CommandError, call_command

START = datetime(2025, 6, 4, 17, 51, tzinfo=UTC)
NAMES = '"date","Temperature","Humidity","Light","CO2","HumidityRatio","Occupancy"\n'


def office(count: int = 3, *, first: int = 1) -> str:
    """Return rows as R writes them: with a row number first, which the header does not name."""
    rows = (
        f'"{first + n}","{START + timedelta(minutes=n):%Y-%m-%d %H:%M:%S}",'
        f"{23 + n / 1000:.3f},27.272,426,721.25,0.00479298817650529,{n % 2}\n"
        for n in range(count)
    )
    return NAMES + "".join(rows)


def write(folder: Path, content: str | bytes, name: str = "office.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


class Run:
    """The output of an import and the error it ended with."""

    def __init__(self, *files: Path, **options: Any) -> None:
        out, err = StringIO(), options.pop("stderr", None) or StringIO()
        self.error = ""
        try:
            call_command("import_readings", *map(str, files), stdout=out, stderr=err, **options)
        except CommandError as error:
            self.error = str(error)
        self.out = out.getvalue()
        self.err = err.getvalue() if isinstance(err, StringIO) else ""
