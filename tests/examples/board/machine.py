"""What a board has, on a computer."""


class WDT:
    def __init__(self, timeout):
        assert timeout > 60000

    def feed(self):
        """Nobody is waiting for it."""


class Pin:
    OUT = 1

    def __init__(self, number, mode):
        self.number = number

    def value(self, on):
        print("pin", self.number, on)
