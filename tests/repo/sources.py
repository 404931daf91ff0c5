"""The project's own files, for tests about them."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "krafka"


def tracked(*suffixes: str) -> list[Path]:
    """The files of the project with these suffixes that are under version control or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    paths = [ROOT / name for name in listed.split("\0") if name.endswith(suffixes)]
    return sorted(path for path in paths if path.is_file())


def relative(path: Path) -> str:
    """A file's name in the project."""
    return path.relative_to(ROOT).as_posix()
