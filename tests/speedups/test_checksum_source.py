"""Where the checksum comes from: the crc32c library's extension alone if it can be had, or else the library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CHECK = """
import sys
from krafka._speedups.checksum import crc32c
print(crc32c(b"1234", b"56789"), *sorted(name for name in sys.modules if name.startswith("crc32c")))
"""
OF_THE_DIGITS = str(0xE3069283)
"""The checksum of "123456789" that CRC catalogues list for CRC-32C (iSCSI)."""


def found_with(*paths: Path, before: str = "") -> list[str]:
    folders = [str(path) for path in paths]
    finished = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {folders!r}; {before}\n{CHECK}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return finished.stdout.split()


def test_the_extension_is_enough() -> None:
    checksum, *loaded = found_with()
    assert checksum == OF_THE_DIGITS
    assert "crc32c" not in loaded


def test_a_library_that_is_loaded_is_used() -> None:
    checksum, *loaded = found_with(before="import crc32c")
    assert checksum == OF_THE_DIGITS
    assert "crc32c" in loaded


def test_loading_the_library_later_works() -> None:
    before = "import krafka._speedups.checksum, crc32c; assert crc32c.crc32c(b'123456789') == 0xE3069283"
    assert found_with(before=before)[0] == OF_THE_DIGITS


def test_a_library_that_is_built_otherwise_is_used_as_it_presents_itself(tmp_path: Path) -> None:
    package = tmp_path / "crc32c"
    package.mkdir()
    (package / "__init__.py").write_text("def crc32c(data, value=0):\n    return value + len(data)\n")
    assert found_with(tmp_path) == ["9", "crc32c"]
    (package / "_crc32c.py").write_text("# not what it was\n")
    assert found_with(tmp_path) == ["9", "crc32c"]


def test_a_library_of_one_file(tmp_path: Path) -> None:
    (tmp_path / "crc32c.py").write_text("def crc32c(data, value=0):\n    return value + len(data)\n")
    assert found_with(tmp_path) == ["9", "crc32c"]
