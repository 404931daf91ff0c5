"""Asks pyright whether every public name of krafka has a complete type, as a user's type checker sees them.

    python tools/check_public_types.py

The command line is a program and no API, so what is under krafka.cli does not count.
"""
# ruff: noqa: S603 - it runs the pyright that is installed beside the interpreter

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
NO_API = ("krafka.cli", "krafka.__main__")


def is_public(name: str) -> bool:
    """Whether a symbol's full name belongs to the API."""
    return not any(name == module or name.startswith(f"{module}.") for module in NO_API)


def incomplete(report: dict[str, Any]) -> list[str]:
    """The public names without a complete type, and why, out of pyright's report."""
    completeness = report["typeCompleteness"]
    faults = [f"{found['file']}: {found['message']}" for found in report["generalDiagnostics"]]
    for symbol in completeness["symbols"]:
        if symbol["isExported"] and not symbol["isTypeKnown"] and is_public(symbol["name"]):
            reasons = "; ".join(found["message"].replace("\n", " ") for found in symbol["diagnostics"])
            faults.append(f"{symbol['name']}: {reasons}")
    return faults


def main() -> int:
    """Print what is incomplete; exit with 1 if anything is."""
    # pyright does not follow the import hook of an editable install.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pyright", "--verifytypes", "krafka", "--ignoreexternal", "--outputjson"]
    finished = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report = json.loads(finished.stdout)
        faults = incomplete(report)
        public = [
            name for name in (s["name"] for s in report["typeCompleteness"]["symbols"]) if is_public(name)
        ]
    except (ValueError, KeyError, TypeError) as error:
        print(
            f"pyright's report cannot be read: {error!r}\n{finished.stdout}{finished.stderr}", file=sys.stderr
        )
        return 1
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{len(public)} public names, {len(faults)} without a complete type")
    return 1 if faults or not public else 0


if __name__ == "__main__":
    sys.exit(main())
