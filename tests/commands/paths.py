"""Where commands are found over the API: by their device, and for whoever owns it."""

CLAIM = "/api/v1/device/commands"


def of(device, rest=""):
    return f"/api/v1/devices/{device.pk}/commands{rest}"
