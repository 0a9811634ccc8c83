"""The network module of MicroPython, for tests on a computer: connect() always succeeds."""

STA_IF = 0


class WLAN:
    def __init__(self, interface):
        self.connected = False

    def active(self, on):
        assert on

    def connect(self, name, password):
        self.connected = (name, password) == ("home", "secret")

    def isconnected(self):
        return self.connected

    def status(self, what):
        assert what == "rssi"
        return -60
