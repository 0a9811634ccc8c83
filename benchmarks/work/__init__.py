"""What is measured: one file for each kind of work, one function for each kind of row."""

from benchmarks.bench import Measurement
from benchmarks.work import (
    batches,
    charts,
    enumeration,
    exports,
    first_start,
    history,
    large,
    page_views,
    singles,
    staff,
    waiting,
)

MEASUREMENTS: dict[str, Measurement] = {
    "singles": singles.measure,
    "copy": batches.against_copy,
    "servers": batches.against_servers,
    "again": batches.sent_again,
    "stored": large.ingest,
    "charts": charts.measure,
    "list": page_views.device_list,
    "drawn": page_views.drawn,
    "newest": history.newest,
    "pages": history.pages,
    "thousand": history.thousand,
    "export": exports.measure,
    "staff": staff.pages,
    "purge": staff.purge,
    "waiting": waiting.measure,
    "drop": large.drop_month,
    "memory": large.weigh,
    "known": enumeration.measure,
    "first": first_start.measure,
}
LONG = {"known", "list", "drawn", "staff", "purge", "waiting"}
"""Those that alone would take a quick run past its three minutes: in a full one, or by name."""
