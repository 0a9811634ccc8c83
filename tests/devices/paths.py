"""API paths of devices."""


def device_path(device):
    return f"/api/v1/devices/{device.pk}"
