"""What values are measured in, told by their names as far as a name tells it. No database here.

Two things tell: a unit at the end (`temperature_c`, `energyKwh`), or the name of what is nearly
everywhere measured in one unit. Where a name may mean several things nothing is guessed: no unit
is better than a wrong one, and people can say which it is.
"""

import re
from functools import lru_cache
from typing import NamedTuple


class UnitFormat(NamedTuple):
    """A unit, as it is written, and how many decimals of a number in it are worth showing."""

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
"""At the end of a name, or all of it."""

UNITS_BEHIND = {
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
"""At the end of a name, behind a word that says of what."""

LETTERS = {
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
"""At the end of a name, behind one of the words that they are a unit of."""

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
"""Anywhere in a name; the last counts, as in `humidity_temperature`."""

MODEST = {
    **dict.fromkeys(("battery", "batt"), UnitFormat("%", 0)),
    "light": UnitFormat("lx", 0),
    "current": AMPERE,
    **dict.fromkeys(("cpu", "memory", "disk"), PERCENT),
}
"""Words of many uses (`battery_cycles`, `current_mode`): they count with a FILLER at the most."""

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
"""With one of these a name means something about a quantity, not the quantity."""

PIECE = re.compile(r"([_\W]*)([A-Z]+(?![^\W\d_A-Z])|[A-Z]?[^\W\d_A-Z]+|\d+)")
LONGEST = 3
"""Pieces of one of the names above: `pm2_5` has three."""


@lru_cache(maxsize=4096)
def guess_unit(path: str) -> UnitFormat:
    """What the value under this path of a payload is measured in; UNKNOWN where it is not told."""
    pieces = _pieces(path)
    words = {word for _, word in pieces}
    return _unit_behind(pieces, words) or _quantity(pieces, words) or UNKNOWN


def _pieces(path: str) -> list[tuple[str, str]]:
    """The words and numbers of the last part of a path, each with what parts it from the one
    before: "_" or nothing. A number alone (`temperature.0`) belongs to the part before it.
    """
    parts = path.split(".")
    start = next((i for i in range(len(parts) - 1, 0, -1) if not parts[i].isdecimal()), 0)
    found = PIECE.findall("_".join(parts[start:]))
    return [("_" if parting else "", word.lower()) for parting, word in found]


def _run(pieces: list[tuple[str, str]], start: int, end: int) -> str:
    return "".join(parting + word for parting, word in pieces[start:end]).lstrip("_")


def _unit_behind(pieces: list[tuple[str, str]], words: set[str]) -> UnitFormat | None:
    end = len(pieces)
    for start in range(max(0, end - LONGEST), end):
        run = _run(pieces, start, end)
        if found := UNITS.get(run) or (UNITS_BEHIND.get(run) if start else None):
            return found
    letter, behind = LETTERS.get(pieces[-1][1], (None, set())) if pieces else (None, set())
    return letter if words & behind else None


def _quantity(pieces: list[tuple[str, str]], words: set[str]) -> UnitFormat | None:
    if words & NOT_MEASURED:
        return None
    for end in range(len(pieces), 0, -1):
        for start in range(max(0, end - LONGEST), end):
            if found := QUANTITIES.get(_run(pieces, start, end)):
                return found
    telling = [word for word in words - FILLERS if not word.isdecimal()]
    return MODEST.get(telling[0]) if len(telling) == 1 else None
