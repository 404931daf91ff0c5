"""Compiles the Java programs beside this file and makes ``tests/golden`` with them.

Needs a JDK of version 17 or later (``javac`` and ``jar``) once; tests need only what is checked in.

    python tools/golden/make.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
GOLDEN = ROOT / "tests" / "golden"
# Jar entries carry a time; a fixed one makes the same sources give the same jar.
ENTRY_TIME = "2000-01-01T00:00:00Z"


def run(*command: str | Path) -> None:
    """Run a tool, echoing it, and stop at its first failure."""
    print(" ".join(map(str, command))[:200], file=sys.stderr)
    subprocess.run(list(map(str, command)), check=True)  # noqa: S603  # the JDK's own tools


def main() -> None:
    """Compile, pack the judge, and let the generator write the batches."""
    sys.path.insert(0, str(ROOT))
    from krafka.testing._distribution import DEFAULT_VERSION, load_distribution  # noqa: PLC0415  # after the path

    distribution = load_distribution(DEFAULT_VERSION)
    class_path = distribution.class_path
    with tempfile.TemporaryDirectory(prefix="krafka-golden-") as folder:
        classes = Path(folder)
        run(
            "javac",
            "--release",
            "17",
            "-g:none",
            "-cp",
            class_path,
            "-d",
            classes,
            *sorted(HERE.glob("*.java")),
        )
        run(distribution.java, "-cp", f"{classes}:{class_path}", "GoldenBatches", GOLDEN, DEFAULT_VERSION)
        judge = sorted(path.name for path in classes.glob("JudgeBatches*.class"))
        packing: list[str | Path] = [
            "--create",
            "--date",
            ENTRY_TIME,
            "--file",
            GOLDEN / "judge.jar",
            "-C",
            classes,
        ]
        run("jar", *packing, judge[0], *(part for name in judge[1:] for part in ("-C", classes, name)))


if __name__ == "__main__":
    main()
