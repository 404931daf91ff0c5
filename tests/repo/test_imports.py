"""Imports that import-linter cannot see: those of Cython sources, and those of the package's own front door."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from .sources import PACKAGE, ROOT, relative, tracked

if TYPE_CHECKING:
    from pathlib import Path

BELOW_COMPILED = {"krafka.errors", "krafka.records", "krafka._speedups"}
"""What compiled modules may import of krafka; see the layers in .importlinter."""

CYTHON_IMPORT = re.compile(r"^\s*(?:from\s+(\S+)\s+c?import|c?import\s+(\S+))", re.MULTILINE)
EVENT_LOOPS = {"asyncio", "trio", "uvloop", "sniffio", "curio"}

CYTHON = [path for path in tracked(".pyx", ".pxd") if path.is_relative_to(PACKAGE)]
PYTHON = [path for path in tracked(".py") if path.is_relative_to(PACKAGE)]


def cython_imports(path: Path) -> set[str]:
    return {first or second for first, second in CYTHON_IMPORT.findall(path.read_text())}


@pytest.mark.parametrize("path", [path for path in CYTHON if path.parent.name == "_speedups"], ids=relative)
def test_compiled_modules_import_from_below(path: Path) -> None:
    own = {name for name in cython_imports(path) if name.split(".")[0] == "krafka"}
    assert {name for name in own if ".".join(name.split(".")[:2]) not in BELOW_COMPILED} == set()


@pytest.mark.parametrize("path", CYTHON, ids=relative)
def test_compiled_modules_know_no_event_loop(path: Path) -> None:
    """But the one in which tasks wait, as its docstring says."""
    if path.name == "waiting.pyx":
        return
    assert {name for name in cython_imports(path) if name.split(".")[0] in EVENT_LOOPS} == set()


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_no_room_goes_through_the_front_door(path: Path) -> None:
    rooms_above = {"__main__.py", "cli", "testing"}
    if path.relative_to(PACKAGE).parts[0] in rooms_above or path == PACKAGE / "__init__.py":
        return
    through = [
        f"{relative(path)}:{node.lineno}"
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.ImportFrom) and node.module == "krafka" and not node.level)
        or (isinstance(node, ast.Import) and any(alias.name == "krafka" for alias in node.names))
    ]
    assert through == []


def test_the_rules_are_about_real_files() -> None:
    assert len(CYTHON) > 5
    assert len(PYTHON) > 40
    assert (ROOT / ".importlinter").exists()
