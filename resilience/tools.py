"""What is installed for `make resilience` alone, beside what the tests need."""

from tests.e2e.sites import ROOT

BIN = ROOT / "var" / "fire" / "venv" / "bin"
PYTHON = str(BIN / "python")
