"""Guess the unit of a value from its name. This module does not access the database.

The unit is guessed from a suffix (`temperature_c`, `energyKwh`), or from the name of a quantity
that nearly always has the same unit. If a name is ambiguous there is no guess: no unit is better
than a wrong one, and the user can set the unit.
"""

import re
from functools import lru_cache
from typing import NamedTuple


class UnitFormat(NamedTuple):
    """A unit and the number of decimals to display with it."""

    unit: str
    decimals: int | None


UNKNOWN = UnitFormat("", None)
PERCENT, VOLT, AMPERE = UnitFormat("%", 1), UnitFormat("V", 2), UnitFormat("A", 2)
CELSIUS, FAHRENHEIT, KELVIN = UnitFormat("°C", 1), UnitFormat("°F", 1), UnitFormat("K", 1)
WATT, METRE, SECOND, HOUR = (
    UnitFormat("W", 1),
    UnitFormat("m", 1),
    UnitFormat("s", 0),
    UnitFormat("h", 1),
)
DECIBEL, DUST = UnitFormat("dB", 1), UnitFormat("µg/m³", 1)
COORDINATE, ANGLE = UnitFormat("°", 5), UnitFormat("°", 0)

UNITS = {
    **dict.fromkeys(("celsius", "degc", "deg_c"), CELSIUS),
    **dict.fromkeys(("fahrenheit", "degf", "deg_f"), FAHRENHEIT),
    "kelvin": KELVIN,
    **dict.fromkeys(("percent", "percentage", "pct"), PERCENT),
    **dict.fromkeys(("volt", "volts"), VOLT),
    **dict.fromkeys(("amp", "amps", "ampere", "amperes"), AMPERE),
    **dict.fromkeys(("watt", "watts"), WATT),
    "kw": UnitFormat("kW", 2),
    "wh": UnitFormat("Wh", 0),
    "kwh": UnitFormat("kWh", 2),
    **dict.fromkeys(("w_m2", "wm2"), UnitFormat("W/m²", 0)),
    "dbm": UnitFormat("dBm", 0),
    "ppm": UnitFormat("ppm", 0),
    "ppb": UnitFormat("ppb", 0),
    "hpa": UnitFormat("hPa", 1),
    "kpa": UnitFormat("kPa", 2),
    **dict.fromkeys(("mbar", "pressure_mb"), UnitFormat("mbar", 1)),
    **dict.fromkeys(("lux", "lx"), UnitFormat("lx", 0)),
    "rpm": UnitFormat("rpm", 0),
    "bpm": UnitFormat("bpm", 0),
    "hz": UnitFormat("Hz", 2),
    "khz": UnitFormat("kHz", 1),
    "mhz": UnitFormat("MHz", 0),
    "ghz": UnitFormat("GHz", 2),
    "seconds": SECOND,
    "milliseconds": UnitFormat("ms", 0),
    "minutes": UnitFormat("min", 0),
    "hours": HOUR,
    **dict.fromkeys(("meters", "metres"), METRE),
    **dict.fromkeys(("km_h", "kmh", "kph"), UnitFormat("km/h", 1)),
    **dict.fromkeys(("m_s", "mps"), UnitFormat("m/s", 1)),
    "mph": UnitFormat("mph", 1),
    "knots": UnitFormat("kn", 1),
    **dict.fromkeys(("ug_m3", "ugm3"), DUST),
    **dict.fromkeys(("mg_m3", "mgm3"), UnitFormat("mg/m³", 2)),
    **dict.fromkeys(("liters", "litres"), UnitFormat("L", 1)),
    **dict.fromkeys(("l_min", "lpm"), UnitFormat("L/min", 1)),
    "kb_s": UnitFormat("kB/s", 1),
    "mb_s": UnitFormat("MB/s", 2),
    "kbps": UnitFormat("kbit/s", 0),
    "mbps": UnitFormat("Mbit/s", 1),
    "bytes": UnitFormat("B", 0),
}
"""Units at the end of a name, or as the whole name."""

UNIT_SUFFIXES = {
    "mv": UnitFormat("mV", 0),
    "ma": UnitFormat("mA", 0),
    "mah": UnitFormat("mAh", 0),
    "va": UnitFormat("VA", 0),
    "db": DECIBEL,
    "pa": UnitFormat("Pa", 0),
    "bar": UnitFormat("bar", 2),
    "psi": UnitFormat("psi", 1),
    "ms": UnitFormat("ms", 0),
    "sec": SECOND,
    "mm": UnitFormat("mm", 1),
    "cm": UnitFormat("cm", 1),
    "km": UnitFormat("km", 2),
    "kg": UnitFormat("kg", 2),
    **dict.fromkeys(("deg", "degrees"), UnitFormat("°", 1)),
    "m3": UnitFormat("m³", 3),
    "kb": UnitFormat("kB", 0),
    "mb": UnitFormat("MB", 1),
    "gb": UnitFormat("GB", 2),
}
"""Units at the end of a name, after another word."""

UNIT_LETTERS = {
    "c": (CELSIUS, {"temperature", "temp", "dew", "dewpoint"}),
    "f": (FAHRENHEIT, {"temperature", "temp", "dew", "dewpoint"}),
    "k": (KELVIN, {"temperature", "temp"}),
    "v": (VOLT, {"voltage", "battery", "batt", "supply", "solar", "vcc", "vdd"}),
    "a": (AMPERE, {"current"}),
    "w": (WATT, {"power"}),
    "m": (METRE, {"altitude", "elevation", "height", "depth", "distance"}),
    "s": (SECOND, {"uptime", "duration", "interval", "elapsed", "age", "timeout"}),
    "h": (HOUR, {"uptime", "duration", "runtime"}),
}
"""Units at the end of a name, if the name has one of these words."""

QUANTITIES = {
    **dict.fromkeys(("temperature", "temp", "dew_point", "dewpoint"), CELSIUS),
    **dict.fromkeys(("humidity", "hum", "moisture"), PERCENT),
    **dict.fromkeys(("pressure", "barometer"), UnitFormat("hPa", 1)),
    **dict.fromkeys(("co2", "eco2"), UnitFormat("ppm", 0)),
    "tvoc": UnitFormat("ppb", 0),
    **dict.fromkeys(("pm1", "pm25", "pm2_5", "pm4", "pm10"), DUST),
    "voltage": VOLT,
    "power": WATT,
    "energy": UnitFormat("kWh", 2),
    "illuminance": UnitFormat("lx", 0),
    "irradiance": UnitFormat("W/m²", 0),
    **dict.fromkeys(("rssi", "rsrp"), UnitFormat("dBm", 0)),
    **dict.fromkeys(("snr", "rsrq", "noise"), DECIBEL),
    **dict.fromkeys(("altitude", "elevation"), METRE),
    **dict.fromkeys(("lat", "latitude", "lon", "lng", "longitude"), COORDINATE),
    **dict.fromkeys(("heading", "bearing", "azimuth"), ANGLE),
    **dict.fromkeys(("wind_direction", "wind_dir"), ANGLE),
    **dict.fromkeys(("rainfall", "precipitation"), UnitFormat("mm", 1)),
    "uptime": SECOND,
    "ph": UnitFormat("", 2),
    **dict.fromkeys(("cpu_usage", "memory_usage", "disk_usage", "state_of_charge"), PERCENT),
    "soc": PERCENT,
}
"""Words anywhere in a name; the last one counts, as in `humidity_temperature`."""

AMBIGUOUS_WORDS = {
    **dict.fromkeys(("battery", "batt"), UnitFormat("%", 0)),
    "light": UnitFormat("lx", 0),
    "current": AMPERE,
    **dict.fromkeys(("cpu", "memory", "disk"), PERCENT),
}
"""Words with several meanings (`battery_cycles`, `current_mode`): used alone or with FILLERS."""

FILLERS = {
    *("level", "value", "now", "avg", "mean", "min", "max", "main", "phase", "l"),
    *("in", "out", "indoor", "outdoor", "inside", "outside"),
}
NOT_MEASURED = {
    *("index", "ratio", "rate", "factor", "count", "counter", "id", "code", "state", "status"),
    *("mode", "trend", "score", "flag", "alarm", "alert", "error", "errors", "fault", "ok"),
    *("enabled", "on", "off", "cycles", "raw", "gain", "time", "timestamp", "samples"),
    *("apparent", "reactive"),
}
"""A name with one of these words is not the quantity itself."""

PIECE = re.compile(r"([_\W]*)([A-Z]+(?![^\W\d_A-Z])|[A-Z]?[^\W\d_A-Z]+|\d+)")
MAX_PIECES = 3
"""Maximum number of pieces of a name above: `pm2_5` has three."""


@lru_cache(maxsize=4096)
def guess_unit(path: str) -> UnitFormat:
    """Return the unit of the value at this path of a payload, or UNKNOWN."""
    pieces = _pieces(path)
    words = {word for _, word in pieces}
    return _unit_suffix(pieces, words) or _quantity(pieces, words) or UNKNOWN


def _pieces(path: str) -> list[tuple[str, str]]:
    """Return the words and numbers of the last part of a path, each after its separator.

    The separator is "_" or empty. A number alone (`temperature.0`) belongs to the part before it.
    """
    parts = path.split(".")
    start = next((i for i in range(len(parts) - 1, 0, -1) if not parts[i].isdecimal()), 0)
    pieces = PIECE.findall("_".join(parts[start:]))
    return [("_" if separator else "", word.lower()) for separator, word in pieces]


def _joined(pieces: list[tuple[str, str]], start: int, end: int) -> str:
    return "".join(separator + word for separator, word in pieces[start:end]).lstrip("_")


def _unit_suffix(pieces: list[tuple[str, str]], words: set[str]) -> UnitFormat | None:
    end = len(pieces)
    for start in range(max(0, end - MAX_PIECES), end):
        name = _joined(pieces, start, end)
        if found := UNITS.get(name) or (UNIT_SUFFIXES.get(name) if start else None):
            return found
    unit, required_words = (
        UNIT_LETTERS.get(pieces[-1][1], (None, set())) if pieces else (None, set())
    )
    return unit if words & required_words else None


def _quantity(pieces: list[tuple[str, str]], words: set[str]) -> UnitFormat | None:
    if words & NOT_MEASURED:
        return None
    for end in range(len(pieces), 0, -1):
        for start in range(max(0, end - MAX_PIECES), end):
            if found := QUANTITIES.get(_joined(pieces, start, end)):
                return found
    remaining = [word for word in words - FILLERS if not word.isdecimal()]
    return AMBIGUOUS_WORDS.get(remaining[0]) if len(remaining) == 1 else None
