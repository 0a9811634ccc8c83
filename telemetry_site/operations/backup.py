"""Backup and restore of an installation: one file with the database and the secrets of DATA_DIR.

The file is a tar archive of `about.json`, `database.dump` (custom format of pg_dump) and, if
DATA_DIR holds them, the secret key of the site and the token of the first device. A restore is one
transaction: it replaces everything or nothing.
"""

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from common.db.embedded.server import PROGRAMS

FORMAT = 1
KEPT_FILES = ("secret_key", "first_device.token")
DEBIAN = Path("/usr/lib/postgresql")

EMPTY_FIRST = "DROP SCHEMA public CASCADE; CREATE SCHEMA public;"


class BackupFailed(Exception):
    """The backup or the restore failed; nothing was written or changed."""


class MadeByNewerCode(BackupFailed):
    """The backup contains migrations that this code does not have."""

    def __init__(self, file: Path, unknown: list[str]) -> None:
        super().__init__(
            f"{file} was made by a newer version. This version does not have the migrations"
            f" {', '.join(unknown)}. Update the code first. Nothing was changed."
        )


def create_backup(file: Path, *, now: datetime) -> None:
    """Write a backup to a new file, readable by its owner only. Raises BackupFailed.

    The site may run during the backup: pg_dump reads a consistent snapshot.
    """
    if file.exists():
        raise BackupFailed(f"{file} exists already, and is not overwritten.")
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".backup-") as folder:
        dump = Path(folder) / "database.dump"
        _run("pg_dump", "--format=custom", "--no-owner", "--no-acl", f"--file={dump}")
        about = {
            "format": FORMAT,
            "made_at": now.isoformat(),
            "postgresql": _version(),
            "migrations": _migrations(),
        }
        draft = Path(folder) / "backup.tar"
        draft.touch(mode=0o600)
        with tarfile.open(draft, "w") as archive:
            (Path(folder) / "about.json").write_text(json.dumps(about, indent=2))
            archive.add(Path(folder) / "about.json", "about.json")
            archive.add(dump, "database.dump")
            for path in map(settings.DATA_DIR.joinpath, KEPT_FILES):
                if path.exists():
                    archive.add(path, path.name)
        _sync(draft)
        try:
            # A hard link is atomic, and never overwrites a file.
            os.link(draft, file)
        except FileExistsError:
            raise BackupFailed(f"{file} exists already, and is not overwritten.") from None


def restore(file: Path, *, replace: bool = False) -> list[str]:
    """Restore the backup into an empty database, or with `replace` into any database.

    Return the names of the files written to DATA_DIR; previous ones are renamed to `<name>.before`.
    Raises BackupFailed or MadeByNewerCode; then nothing has changed.
    """
    with tempfile.TemporaryDirectory(prefix="telemetry-restore-") as folder:
        directory = Path(folder)
        _unpack(file, directory)
        if others := _other_connections():
            raise BackupFailed(
                f"The database has {others} other connections. Stop the site and the worker."
            )
        if not replace and not _is_empty():
            raise BackupFailed("The database is not empty. --replace deletes its content first.")
        _replace_all(directory / "database.dump")
        return [name for name in KEPT_FILES if _restore_file(directory / name)]


def _unpack(file: Path, directory: Path) -> None:
    try:
        with tarfile.open(file) as archive:
            archive.extractall(directory, filter="data")
        about = json.loads((directory / "about.json").read_text())
        known = about["format"]
        if known != FORMAT:
            raise BackupFailed(f"{file} was made by a newer version.")
        migrations = sorted(about["migrations"].items())
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupFailed(f"{file} is no backup of this system: {error}") from None
    if unknown := [f"{app}.{name}" for app, name in migrations if not _is_known(app, name)]:
        raise MadeByNewerCode(file, unknown)


def _is_known(app: str, name: str) -> bool:
    """Return whether this code has the migration, or one that replaces it."""
    known = MigrationLoader(None).disk_migrations
    return (app, name) in known or any((app, name) in each.replaces for each in known.values())


def _restore_file(kept: Path) -> bool:
    target = settings.DATA_DIR / kept.name
    if not kept.exists() or (target.exists() and target.read_bytes() == kept.read_bytes()):
        return False
    if target.exists():
        target.replace(target.with_name(f"{target.name}.before"))
    shutil.copyfile(kept, target)
    target.chmod(0o600)
    return True


def _is_empty() -> bool:
    with connection.cursor() as cursor:
        return not connection.introspection.table_names(cursor)


def _other_connections() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
                AND backend_type = 'client backend'
            """
        )
        return int(cursor.fetchone()[0])


def _migrations() -> dict[str, str]:
    """Return the newest migration of each app."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT app, max(name) FROM django_migrations GROUP BY app ORDER BY app")
        return dict(cursor.fetchall())


def _replace_all(dump: Path) -> None:
    """Restore the dump in one transaction. It is streamed, because the unpacked dump may be larger
    than the free disk space.
    """
    environment = _environment()
    unpack = [_tool("pg_restore"), "--no-owner", "--no-acl", "--file=-", str(dump)]
    run = [_tool("psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction"]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(unpack, env=environment, stdout=subprocess.PIPE, stderr=said) as reader,  # noqa: S603
        subprocess.Popen(  # noqa: S603
            [*run, f"--command={EMPTY_FIRST}", "--file=-"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
        ) as writer,
    ):
        assert reader.stdout  # noqa: S101 - both are pipes
        assert writer.stdin  # noqa: S101
        with suppress(BrokenPipeError):
            shutil.copyfileobj(reader.stdout, writer.stdin)
        reader.stdout.close()
        if reader.wait():
            # At the end of its input psql would commit the incomplete restore.
            writer.kill()
        with suppress(BrokenPipeError):
            writer.stdin.close()
        if writer.wait() or reader.returncode:
            said.seek(0)
            raise BackupFailed(f"Nothing is restored: {said.read().decode(errors='replace')}")


def _run(program: str, *arguments: str) -> None:
    done = subprocess.run(  # noqa: S603 - the program is one of PostgreSQL's
        [_tool(program), *arguments],
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BackupFailed(f"{program} failed: {done.stderr.strip()}")


def _environment() -> dict[str, str]:
    """Return the environment in which PostgreSQL's programs connect to the database."""
    parameters = connection.get_connection_params()
    variables = {
        "PGHOST": parameters.get("host"),
        "PGPORT": parameters.get("port"),
        "PGUSER": parameters.get("user"),
        "PGPASSWORD": parameters.get("password"),
        "PGDATABASE": connection.settings_dict["NAME"],
        "PGSSLMODE": parameters.get("sslmode"),
        "PGOPTIONS": "-c statement_timeout=0 -c lock_timeout=10000",
    }
    # Django's own connection would count as another connection, and could hold locks.
    connection.close()
    return os.environ | {name: str(value) for name, value in variables.items() if value}


def _version() -> int:
    """Return the version number of the server, such as 180004."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        return int(cursor.fetchone()[0])


def _tool(program: str) -> str:
    """Return the path of a PostgreSQL program: that of the server's version if it is installed,
    otherwise that of the wheel, which is newer than every supported server.
    """
    own = DEBIAN / str(_version() // 10_000) / "bin" / program
    return str(own if own.exists() else PROGRAMS / program)


def _sync(file: Path) -> None:
    with file.open("rb") as written, suppress(OSError):
        os.fsync(written.fileno())
