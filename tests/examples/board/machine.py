"""The machine module of MicroPython, for tests on a computer."""


class WDT:
    def __init__(self, timeout):
        assert timeout > 60000

    def feed(self):
        """Do nothing: there is no watchdog."""


class Pin:
    OUT = 1

    def __init__(self, number, mode):
        self.number = number

    def value(self, on):
        print("pin", self.number, on)
