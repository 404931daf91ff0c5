"""Decoders broken on purpose, and the response by which each is found: `python -m tests.fuzz.mutants [name ...]`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
RESPONSES = 60_000
BUILD_SECONDS = 300
RUN_SECONDS = 300


class Mutant(NamedTuple):
    """One change of a source: the text is there exactly once."""

    file: str
    old: str
    new: str


_DECODE = "krafka/_speedups/wire_decode.pyx"
_FRAMING = "krafka/_state/framing.py"
_PIPELINE = "krafka/_state/pipeline.py"

MUTANTS = {
    "no check of what is left": Mutant(
        _DECODE, "if size > cursor.end - cursor.position:\n        cut_short", "if False:\n        cut_short"
    ),
    "one byte too many is let through": Mutant(
        _DECODE,
        "if size > cursor.end - cursor.position:\n        cut_short",
        "if size > cursor.end - cursor.position + 1:\n        cut_short",
    ),
    "an array's count is believed": Mutant(
        _DECODE, "if count > (cursor.end - cursor.position) // field.item_size:", "if False:"
    ),
    "an array's count is held against bytes, not elements": Mutant(
        _DECODE,
        "if count > (cursor.end - cursor.position) // field.item_size:",
        "if count > 64 * (cursor.end - cursor.position):",
    ),
    "a tagged field may reach past the end": Mutant(
        _DECODE, "        if size > end - cursor.position:\n", "        if False:\n"
    ),
    "a tagged field may leave bytes": Mutant(
        _DECODE, "                if cursor.position != cursor.end:\n", "                if False:\n"
    ),
    "lengths below null": Mutant(
        _DECODE, "    if length < -1:\n        malformed(cursor", "    if False:\n        malformed(cursor"
    ),
    "null where there is none": Mutant(
        _DECODE, "if length == -1 and not field.nullable:", "if length == -2 and not field.nullable:"
    ),
    "varints of more than 32 bits": Mutant(
        _DECODE, "            if value > 0xFFFFFFFF:\n                break\n", ""
    ),
    "varints without end": Mutant(_DECODE, "while shift < 35:", "while True:"),
    "text that is not UTF-8": Mutant(
        _DECODE,
        '            raise ProtocolError(f"{<object> cursor.label}: {detail}") from error',
        "            raise",
    ),
    "bytes behind the message": Mutant(
        _DECODE,
        "    if cursor.position != cursor.end:\n        raise ProtocolError(",
        "    if False:\n        raise ProtocolError(",
    ),
    "a default is forgotten": Mutant(
        _DECODE, "        if slot_of(struct, field)[0] == NULL:\n", "        if False:\n"
    ),
    "a size is believed at once": Mutant(
        _FRAMING,
        "            self._needed = SIZE_PREFIX_BYTES + size\n",
        "            self._needed = SIZE_PREFIX_BYTES + size\n            bytearray(size)\n",
    ),
    "an answer nobody asked for": Mutant(
        _PIPELINE, "        if not self._awaiting:\n", "        if False:\n"
    ),
    "any correlation id will do": Mutant(
        _PIPELINE,
        "if pending.correlation_id != correlation_id:",
        "if pending.correlation_id > correlation_id + 99:",
    ),
    "a request leaves before its answer is decoded": Mutant(
        _PIPELINE,
        "        pending = self._awaiting[0]\n",
        "        pending = self._awaiting.popleft(); self._awaiting.append(pending); self._awaiting.popleft()\n",
    ),
}


def try_mutant(mutant: Mutant, at: Path) -> str:
    """What the judge says of a copy of the tree with one change."""
    shutil.copytree(ROOT / "krafka", at / "krafka", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        ROOT / "tests" / "fuzz", at / "tests" / "fuzz", ignore=shutil.ignore_patterns("__pycache__")
    )
    source = at / mutant.file
    text = source.read_text()
    if text.count(mutant.old) != 1:
        raise SystemExit(f"{mutant.file} has this {text.count(mutant.old)} times:\n{mutant.old}")
    source.write_text(text.replace(mutant.old, mutant.new))
    if source.suffix == ".pyx":
        shutil.copy(ROOT / "setup.py", at)
        command = [sys.executable, "setup.py", "build_ext", "--inplace"]
        subprocess.run(command, cwd=at, check=True, capture_output=True, timeout=BUILD_SECONDS)
    fuzz = [sys.executable, "-m", "tests.fuzz", "--responses", str(RESPONSES), "--seed", "1", "--jobs", "1"]
    environment = {**os.environ, "PYTHONPATH": str(at)}
    ran = subprocess.run(
        fuzz, cwd=at, env=environment, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    found = [line for line in ran.stdout.splitlines() if line.startswith("FOUND")]
    return found[0] if found else f"NOT FOUND (exit code {ran.returncode}) {ran.stderr[-300:]}"


def main(names: list[str]) -> int:
    """Try the mutants named, or all; the number of those that were not found."""
    missed = 0
    for name in names or MUTANTS:
        with tempfile.TemporaryDirectory(prefix="krafka-mutant-") as scratch:
            said = try_mutant(MUTANTS[name], Path(scratch))
        missed += not said.startswith("FOUND")
        print(f"{name}: {said[:300]}", flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
