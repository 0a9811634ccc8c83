"""The data directory of this installation: database, static files, secret key."""

import os
import secrets
from pathlib import Path


def make_data_dir(path: Path) -> Path:
    """Create the directory if it is missing, readable by its owner only; return its absolute path.

    If root runs the site, the embedded PostgreSQL runs as another user, who needs the execute
    permission to reach its files.
    """
    path = path.expanduser().resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700 if os.geteuid() else 0o711, exist_ok=True)
    return path


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically. Only its owner can read it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def secret_key(data_dir: Path) -> str:
    """Return the secret key of this installation. The first start creates it."""
    path = data_dir / "secret_key"
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
        write_private(draft, secrets.token_urlsafe(64))
        try:
            # Of two concurrent first starts only one creates the key, and both read it.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="utf-8")
