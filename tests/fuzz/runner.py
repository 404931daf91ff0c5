"""Many cases in several processes, and a report of what came of them."""

from __future__ import annotations

import multiprocessing
import resource
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .judge import Tally, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from .judge import Case

    Work = Callable[[int, int, int, int, Any, Connection], None]

CHUNK = 1000
ADDRESS_SPACE_BYTES = 512 * 1024 * 1024
"""What a worker may map beyond what it has when it begins."""


def work(seed: int, responses: int, job: int, jobs: int, at: Any, results: Connection) -> None:
    """What one process does: every `jobs`-th chunk of numbers, under a limit on what it may map."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESS_SPACE_BYTES,) * 2)

    def begin(case: Case) -> None:
        at.value = case.number

    starts = range(job * CHUNK, responses, jobs * CHUNK)
    chunks = (range(start, min(start + CHUNK, responses)) for start in starts)
    tally = run(seed, chain.from_iterable(chunks), begin=begin)
    tally.rss_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    results.send(tally)
    results.close()


def run_in_processes(seed: int, responses: int, jobs: int, work: Work = work) -> Tally:
    """Examine that many cases; a process that dies is a finding, named by the response it died of."""
    context = multiprocessing.get_context("spawn")
    workers = []
    for job in range(jobs):
        at = context.Value("q", -1, lock=False)
        ours, theirs = context.Pipe(duplex=False)
        worker = context.Process(target=work, args=(seed, responses, job, jobs, at, theirs))
        worker.start()
        theirs.close()
        workers.append((worker, at, ours))
    total = Tally()
    for worker, at, ours in workers:
        try:
            total.add(ours.recv())
        except EOFError:
            worker.join()
            total.findings.append(
                f"the process died with exit code {worker.exitcode} of response {at.value} of seed {seed}"
            )
        ours.close()
        worker.join()
    return total


def report(tally: Tally, seed: int, seconds: float) -> None:
    """Say what came of it."""
    examined = sum(tally.outcomes.values())
    print(f"{examined:,} responses of seed {seed} in {seconds:.1f} s ({examined / seconds:,.0f} a second)")
    print("  " + ", ".join(f"{count:,} {name}" for name, count in tally.outcomes.most_common()))
    for kind, count in tally.refusals.most_common():
        print(f"  {count:>9,}  refused: ...{kind}...")
    print(f"  most memory: {tally.most_memory[0]:.1f} bytes for each received, by {tally.most_memory[1]}")
    print(f"  slowest: {tally.slowest[0] * 1e3:.2f} ms, by {tally.slowest[1]}")
    print(f"  largest process: {tally.rss_bytes / 1e6:.0f} MB")
    for finding in tally.findings:
        print(f"FOUND {finding}")
