"""Has AWS's own login module for Amazon MSK make ``tests/golden/msk_iam.json``.

Needs a JDK of version 17 or later (``javac``) once; tests need only what is checked in.

    python tools/golden/msk_iam/make.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent.parent
TARGET = ROOT / "tests" / "golden" / "msk_iam.json"
VERSION = "2.3.2"
LIBRARIES = (
    f"software.amazon.msk:aws-msk-iam-auth:{VERSION}",
    "org.apache.kafka:kafka-clients:4.3.1",
    "org.slf4j:slf4j-simple:1.7.36",
)


def run(*command: str | Path) -> None:
    """Run a tool, echoing it, and stop at its first failure."""
    print(" ".join(map(str, command))[:200], file=sys.stderr)
    subprocess.run(list(map(str, command)), check=True)  # noqa: S603  # the JDK's own tools


def main() -> None:
    """Fetch the libraries, compile the program beside this file and run it."""
    sys.path.insert(0, str(ROOT))
    import jgo  # noqa: PLC0415  # an optional package, and slow to import

    from krafka.testing._distribution import cache_folder, java_runtime  # noqa: PLC0415  # after the path

    environment = jgo.build("+".join(LIBRARIES), cache_dir=cache_folder() / "jgo")
    jars = os.pathsep.join(f"{part}/*" for part in (environment.jars_dir, environment.modules_dir))
    with tempfile.TemporaryDirectory(prefix="krafka-golden-") as classes:
        run("javac", "--release", "17", "-cp", jars, "-d", classes, HERE / "MskIamPayloads.java")
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
        class_path = f"{classes}{os.pathsep}{jars}"
        run(java_runtime(), quiet, "-cp", class_path, "MskIamPayloads", TARGET, VERSION)


if __name__ == "__main__":
    main()
