"""API paths of commands: for the device and for its owner."""

CLAIM = "/api/v1/device/commands"


def commands_path(device, rest=""):
    return f"/api/v1/devices/{device.pk}/commands{rest}"
