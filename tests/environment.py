"""Loaded by pytest before Django is (`-p tests.environment`): where the tests keep their database.

Never the folder of a running site. DATABASE_URL, where it is set, names the server as it always
does. What tests start as processes of their own inherits this.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("DATA_DIR", str(ROOT / "var" / "test"))
