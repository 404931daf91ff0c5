"""Builds krafka's wheel and judges it as a stranger would: its files, and whether it works with nothing but its own
dependencies.

    python tools/check_wheel.py

Leaves nothing behind but pip's and setuptools' own build folders.
"""
# ruff: noqa: S603 - it runs pip and the interpreter it made itself

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "krafka"
SMOKE = """
import pathlib, sys
import krafka
from krafka._speedups import append, checksum, key_hashes, murmur2, record_batch, topic_buffer
folder = pathlib.Path(krafka.__file__).resolve()
assert folder.is_relative_to(pathlib.Path(sys.prefix).resolve()), f"{folder} is not the installed one"
assert (folder.parent / "py.typed").exists()
producer = krafka.Producer("localhost:9092", compression="zstd", tls=True)
assert producer.config.compression is krafka.Compression.ZSTD
import krafka.testing
print("krafka", krafka.__version__, "works on its own")
"""


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command; its failure is this program's."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    finished = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, stdin=subprocess.DEVNULL, check=False
    )
    if finished.returncode:
        sys.exit(f"check_wheel: failed ({finished.returncode}): {' '.join(map(str, command))}")


def compiled_sources(package: Path) -> list[Path]:
    """What becomes an extension module: Cython sources, and Python modules with their C types in a .pxd beside them."""
    typed = (path.with_suffix(".py") for path in package.rglob("*.pxd"))
    return sorted([*package.rglob("*.pyx"), *(path for path in typed if path.exists())])


def expected_files() -> tuple[set[str], set[str]]:
    """The files the wheel must have by name, and the compiled modules by the start of their names."""
    files = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("*.py", "*.pyi", "*.pyx", "*.pxd", "*.h", "py.typed")
        for path in PACKAGE.rglob(pattern)
    }
    compiled = {path.with_suffix("").relative_to(ROOT).as_posix() + "." for path in compiled_sources(PACKAGE)}
    return files, compiled


def faults(names: set[str]) -> list[str]:
    """What is missing in a wheel with these files, and what has no business there."""
    files, compiled = expected_files()
    binaries = {name for name in names if name.endswith((".so", ".pyd"))}
    own = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    found = [f"missing: {name}" for name in sorted(files - names)]
    found += [
        f"missing: the compiled module {start.rstrip('.')}"
        for start in sorted(compiled)
        if not any(name.startswith(start) for name in binaries)
    ]
    found += [f"does not belong there: {name}" for name in sorted(names - files - binaries - own)]
    if not any(name.endswith("/licenses/LICENSE") for name in names):
        found.append("missing: the licence")
    return found


def main() -> int:
    """Build, look inside, install, import."""
    with tempfile.TemporaryDirectory(prefix="krafka-wheel-") as name:
        scratch = Path(name)
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
        run(*pip, "wheel", "--no-deps", "--wheel-dir", scratch, ROOT, cwd=scratch)
        (wheel,) = scratch.glob("krafka-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            found = faults(set(archive.namelist()))
        for fault in found:
            print(f"check_wheel: {wheel.name}: {fault}", file=sys.stderr)
        if found:
            return 1
        venv.EnvBuilder(with_pip=False, symlinks=os.name != "nt").create(scratch / "venv")
        python = scratch / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        run(*pip, "--python", python, "install", wheel, cwd=scratch)
        run(python, "-W", "error", "-c", SMOKE, cwd=scratch)
        print(f"check_wheel: {wheel.name}: {wheel.stat().st_size / 1024:.0f} KiB, complete")
    return 0


if __name__ == "__main__":
    sys.exit(main())
