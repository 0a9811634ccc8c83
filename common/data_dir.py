"""The folder of all that this installation keeps: the database, static files, its key."""

import os
import secrets
from pathlib import Path


def make_data_dir(path: Path) -> Path:
    """Create the folder where it is missing, for its owner only, and return its absolute path.

    Where root runs the site, the embedded PostgreSQL has a user of its own that passes through.
    """
    path = path.expanduser().resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700 if os.geteuid() else 0o711, exist_ok=True)
    return path


def write_private(path: Path, text: str) -> None:
    """Replace a file at once and whole, readable by its owner only."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def secret_key(data_dir: Path) -> str:
    """This installation's own key, made on the first start."""
    path = data_dir / "secret_key"
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}.draft")
        write_private(draft, secrets.token_urlsafe(64))
        try:
            # Of two first starts at once one makes the key, and both read that one.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="utf-8")
