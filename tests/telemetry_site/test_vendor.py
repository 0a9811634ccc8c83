"""Vendored files are unchanged copies of the published ones."""

import tomllib
from hashlib import sha256
from pathlib import Path

import pytest
from django.conf import settings

VENDOR = Path(settings.BASE_DIR) / "static" / "vendor"
PARTS = tomllib.loads((VENDOR / "VENDOR.toml").read_text(encoding="utf-8"))["part"]
FILES = {name: digest for part in PARTS for name, digest in part["sha256"].items()}


@pytest.mark.parametrize(("name", "digest"), FILES.items(), ids=FILES)
def test_every_vendored_file_is_the_published_one(name: str, digest: str) -> None:
    assert sha256((VENDOR / name).read_bytes()).hexdigest() == digest


def test_every_vendored_file_is_listed() -> None:
    found = {path.relative_to(VENDOR).as_posix() for path in VENDOR.rglob("*") if path.is_file()}
    assert found - {"VENDOR.toml"} == set(FILES)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part["name"])
def test_every_part_has_its_version_licence_and_source(part: dict[str, str]) -> None:
    assert part["version"]
    assert part["licence"]
    assert part["source"].startswith(("npm:", "pypi:"))
    assert any(Path(name).name == "LICENSE" for name in part["sha256"])
