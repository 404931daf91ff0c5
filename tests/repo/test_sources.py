"""The list of the project's files is right, with git and without it."""

from __future__ import annotations

from . import sources

SUFFIXES = {".py", ".pyx", ".md"}


def test_a_copy_without_a_repository_has_the_same_sources() -> None:
    from_git = {path for path in sources._from_git() if path.suffix in SUFFIXES and path.exists()}
    from_folders = {path for path in sources._from_folders() if path.suffix in SUFFIXES}
    assert sources.PACKAGE / "producer.py" in from_folders
    assert from_git - from_folders == set()
    assert [path for path in from_folders if "site-packages" in path.parts] == []
