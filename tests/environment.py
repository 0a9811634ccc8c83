"""Set DATA_DIR, the folder of the test database, before Django is loaded (`-p tests.environment`).

It is never the folder of a running site. DATABASE_URL still selects another server. Processes that
tests start inherit DATA_DIR.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("DATA_DIR", str(ROOT / "var" / "test"))
