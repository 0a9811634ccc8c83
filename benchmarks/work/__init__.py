"""What is measured: one file for each kind of work, one function for each kind of row."""

from benchmarks.bench import Measurement
from benchmarks.work import batches, singles

MEASUREMENTS: dict[str, Measurement] = {
    "singles": singles.measure,
    "copy": batches.against_copy,
    "servers": batches.against_servers,
    "again": batches.sent_again,
}
