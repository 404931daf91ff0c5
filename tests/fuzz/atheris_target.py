"""Responses that a coverage-guided fuzzer makes up (atheris, which is libFuzzer), held to what the judge asks.

In a copy of the tree whose decoder `atheris_build.py` compiled, and an environment with atheris::

    LD_PRELOAD=$(python -c "import atheris; print(atheris.path())")/ubsan_with_fuzzer.so \\
        python -m tests.fuzz.atheris_target CORPUS_DIRECTORY -max_total_time=300 -rss_limit_mb=512 -malloc_limit_mb=32

An input is the number of a sound response, in two bytes, which says what was asked, and the frame that comes back. The
directory is filled with all sound responses if it is empty. What libFuzzer reports as a crash lies in a file; with that
file's name as the only argument it is tried again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["krafka._state", "krafka._wire"]):
    from .corpus import CORRELATION_ID, corpus
    from .judge import Case, Tally, attempt, judge

TALLY = Tally()


def try_one(data: bytes) -> None:
    """What libFuzzer calls with each input."""
    if len(data) < 2:
        return
    number = int.from_bytes(data[:2], "big") % len(corpus())
    frame = CORRELATION_ID.to_bytes(4, "big") + data[2:]
    size = len(frame).to_bytes(4, "big")
    judge(attempt(Case(-1, number, corpus()[number], [size + frame])), TALLY)


def fill(directory: Path) -> None:
    """Give the fuzzer the sound responses to begin with."""
    directory.mkdir(exist_ok=True)
    if any(directory.iterdir()):
        return
    for number, specimen in enumerate(corpus()):
        name = f"{number}-{specimen.response.__name__}-{specimen.version}"
        (directory / name).write_bytes(number.to_bytes(2, "big") + specimen.frame[4:])


if __name__ == "__main__":
    target = Path(sys.argv[1])
    if not target.is_file():
        fill(target)
    atheris.Setup(sys.argv, try_one)
    atheris.Fuzz()
