"""The unit that a name implies, and names that imply none."""

import pytest

from telemetry.keys.units import UNKNOWN, guess_unit


@pytest.mark.parametrize(
    ("path", "unit", "decimals"),
    [
        ("temperature", "°C", 1),
        ("outdoor_temp", "°C", 1),
        ("sensors.1.temperature", "°C", 1),
        ("temperature.0", "°C", 1),
        ("cpu_temperature", "°C", 1),
        ("current_temperature", "°C", 1),
        ("humidity_temperature", "°C", 1),
        ("dewPoint", "°C", 1),
        ("humidity", "%", 1),
        ("pressure", "hPa", 1),
        ("co2", "ppm", 0),
        ("eCO2", "ppm", 0),
        ("battery", "%", 0),
        ("battery_level", "%", 0),
        ("battery_voltage", "V", 2),
        ("batteryVoltage", "V", 2),
        ("light", "lx", 0),
        ("illuminance", "lx", 0),
        ("power", "W", 1),
        ("energy", "kWh", 2),
        ("current", "A", 2),
        ("rssi", "dBm", 0),
        ("altitude", "m", 1),
        ("gps.lat", "°", 5),
        ("gps.lon", "°", 5),
        ("noise", "dB", 1),
        ("pm25", "µg/m³", 1),
        ("pm2_5", "µg/m³", 1),
        ("PM2.5", "µg/m³", 1),
        ("pm10", "µg/m³", 1),
        ("uptime", "s", 0),
        ("cpu", "%", 1),
        ("memory", "%", 1),
        ("disk_usage", "%", 1),
    ],
)
def test_a_known_name_implies_its_unit(path: str, unit: str, decimals: int) -> None:
    assert guess_unit(path) == (unit, decimals)


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("temperature_c", "°C"),
        ("temperatureC", "°C"),
        ("temp_f", "°F"),
        ("temperature_F", "°F"),
        ("temperature_k", "K"),
        ("humidity_percent", "%"),
        ("used_percent", "%"),
        ("percent", "%"),
        ("battery_mV", "mV"),
        ("battery_v", "V"),
        ("energy_kWh", "kWh"),
        ("energyKwh", "kWh"),
        ("pressure_hPa", "hPa"),
        ("pressure_mb", "mbar"),
        ("used_mb", "MB"),
        ("read_mb_s", "MB/s"),
        ("wind_avg_km_h", "km/h"),
        ("wind_speed_m_s", "m/s"),
        ("latency_ms", "ms"),
        ("uptime_s", "s"),
        ("rain_mm", "mm"),
        ("frequency_mhz", "MHz"),
        ("dust_ug_m3", "µg/m³"),
        ("cpu_power_w", "W"),
    ],
)
def test_a_unit_at_the_end_of_a_name_is_used(path: str, unit: str) -> None:
    assert guess_unit(path).unit == unit


@pytest.mark.parametrize(
    "path",
    [
        *("", "_", ".", "0", "1.2", "list.0", "x", "value", "level", "count"),
        *("v", "c", "f", "m", "s", "mb", "bar", "pa", "a_c", "firmware_v", "max_s"),
        *("power_factor", "power_on", "power_cycles", "temperature_rate", "humidity_index"),
        *("battery_cycles", "battery_ok", "current_mode", "light_on", "memory_total", "cpu_cores"),
        *("template", "attempt", "temporary", "currently", "lighting", "coffee", "latest"),
        *("min", "speed", "frequency", "distance", "weight", "co", "no2", "signal"),
        *("tempête", "größe", "température", "温度"),
    ],
)
def test_an_ambiguous_name_implies_no_unit(path: str) -> None:
    assert guess_unit(path) == UNKNOWN
