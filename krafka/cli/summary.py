"""What `krafka produce` says at its end, and the exit code that goes with it."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from krafka.cli.console import say, say_error
from krafka.cli.readers import InputError
from krafka.cli.signals import exit_code
from krafka.errors import ProducerCrashedError

if TYPE_CHECKING:
    from krafka.cli.produce import ProduceRun
    from krafka.errors import KafkaError

FAILED = 1
USAGE = 2


def conclude(run: ProduceRun) -> int:
    """Print what came of the run and return the exit code; `quiet` leaves out the totals of a success."""
    outcomes = run.outcomes
    _tell_failures(run)
    if outcomes.acknowledged and not run.job.quiet:
        say(_totals(run))
    if run.error is not None:
        say_error(str(run.error))
    if isinstance(run.error, ProducerCrashedError):
        # A bug of krafka: this is what a report of it needs.
        say("".join(traceback.format_exception(run.error)))
    if outcomes.stop_reason is not None:
        say_error(_why_stopped(run, outcomes.stop_reason))
    if run.interrupted is not None:
        say(_how_far(run))
        return exit_code(run.interrupted)
    if isinstance(run.error, InputError):
        return USAGE
    return FAILED if run.error is not None or outcomes.stop_reason is not None or outcomes.failed else 0


def _tell_failures(run: ProduceRun) -> None:
    outcomes = run.outcomes
    for line, reason in outcomes.first_failed:
        say(f"{run.job.source.name}: line {line}: {reason}")
    unnamed = outcomes.failed - len(outcomes.first_failed)
    if unnamed > 0:
        say(f"... and {unnamed:,} more lines")
    if outcomes.failed:
        say_error(
            f"{outcomes.failed:,} of {outcomes.failed + outcomes.acknowledged:,} lines were not acknowledged"
        )


def _why_stopped(run: ProduceRun, reason: KafkaError | OSError) -> str:
    what = f"writing the report failed: {reason}" if isinstance(reason, OSError) else str(reason)
    if run.reached_end:
        return what
    return (
        f"stopped after line {run.outcomes.last_line}, the rest of {run.job.source.name} was not sent: {what}"
    )


def _totals(run: ProduceRun) -> str:
    outcomes = run.outcomes
    rate = outcomes.acknowledged / run.seconds if run.seconds else 0.0
    spread = ", ".join(f"{partition}: {count:,}" for partition, count in sorted(outcomes.partitions.items()))
    return (
        f"{outcomes.acknowledged:,} records acknowledged in {run.seconds:.2f} s ({rate:,.0f} a second), "
        f"{run.read_bytes:,} bytes read; partitions of {run.job.topic}: {spread}"
    )


def _how_far(run: ProduceRun) -> str:
    outcomes = run.outcomes
    name = run.interrupted.name if run.interrupted is not None else ""
    if not outcomes.acknowledged:
        return f"krafka: ended by {name}; no line was acknowledged"
    upto = outcomes.unbroken_line
    text = f"krafka: ended by {name}; every line up to {upto:,} is acknowledged"
    if run.reached_end and not outcomes.failed:
        return f"{text}, the last one"
    return f"{text}, {outcomes.acknowledged:,} lines altogether"
