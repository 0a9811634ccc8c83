"""A computer has set its clock."""


def settime():
    print("the clock is set")
