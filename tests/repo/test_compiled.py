"""Modules that are to be compiled are: Python would run their sources as well, and only its slowness would show it."""

from __future__ import annotations

import importlib
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from .sources import ROOT, relative, tracked

PACKAGE = ROOT / "krafka"
TYPED = [path.with_suffix(".py") for path in tracked(".pxd") if path.with_suffix(".py").exists()]
COMPILED = [*TYPED, *(path for path in tracked(".pyx") if path.is_relative_to(PACKAGE))]


@pytest.mark.parametrize("path", COMPILED, ids=relative)
def test_what_runs_is_compiled(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    file = importlib.import_module(name).__file__
    assert file is not None
    assert file.endswith(tuple(EXTENSION_SUFFIXES)), file


@pytest.mark.parametrize("path", COMPILED, ids=relative)
def test_what_runs_is_what_was_read(path: Path) -> None:
    """A source that changed since has to be compiled again: `python tools/dev.py setup` does."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    built = Path(str(importlib.import_module(name).__file__))
    sources = [path, path.with_suffix(".pxd")]
    newest = max(source.stat().st_mtime for source in sources if source.exists())
    assert built.stat().st_mtime >= newest, f"{relative(path)} is newer than {built.name}"


def test_the_engine_room_is_among_them() -> None:
    assert {path.stem for path in TYPED} >= {"accumulator", "sequences", "partition", "sender", "pipeline"}
