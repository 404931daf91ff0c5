"""The project's own files, for tests about them."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "krafka"
NOT_OURS = {"build", "dist", "_build", "__pycache__"}


def tracked(*suffixes: str) -> list[Path]:
    """The files of the project with these suffixes that are under version control or about to be."""
    paths = [path for path in _from_git() or _from_folders() if path.name.endswith(suffixes)]
    return sorted(path for path in paths if path.is_file())


def _from_git() -> list[Path]:
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return [ROOT / name for name in listed.split("\0") if name]


def _from_folders() -> list[Path]:
    """The same in a copy of the project without a repository: no hidden folder, no virtual environment."""
    found: list[Path] = []
    folders = [ROOT]
    while folders:
        for path in folders.pop().iterdir():
            if not path.is_dir():
                found.append(path)
            elif not (path.name.startswith(".") or path.name in NOT_OURS or (path / "pyvenv.cfg").exists()):
                folders.append(path)
    return found


def relative(path: Path) -> str:
    """A file's name in the project."""
    return path.relative_to(ROOT).as_posix()
