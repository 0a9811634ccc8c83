"""The REST API for readings, keys, series, exports and imports."""
