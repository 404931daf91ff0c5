"""An interceptor that notes what it is told, and what must hold between that and what callers were told."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import anyio

from krafka import KafkaError, ProducerInterceptor, ProducerRecord, RecordMetadata, RejectRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .record import Record
    from .world import World

REFUSED = 0.02
"""How many of the records it does not let through, in some runs."""
PAUSES = (0.0, 0.0, 0.0005, 0.01)
LONGEST_PAUSE = max(PAUSES)


class Witness(ProducerInterceptor):
    """Sees every record of one producer; in some runs it refuses a few of them."""

    def __init__(self, world: World, name: str, *, refuses: bool) -> None:
        self._world = world
        self._random = Random(f"{world.plan.seed} witness {name}")
        self._refuses = refuses
        self.shown: Counter[str] = Counter()
        self.told: Counter[tuple[Any, ...]] = Counter()
        self.closes = 0

    def on_send(self, record: ProducerRecord) -> None:
        """A verb was called."""
        self._note(record)
        if self._refuses and self._random.random() < REFUSED:
            raise RejectRecord("a whim")

    def _note(self, record: ProducerRecord) -> None:
        self._world.check(not self.closes, "hooks", f"{record!r:.200} was shown after the close")
        self.shown[bytes(record.value or b"").split(b" ", 1)[0].decode()] += 1

    def on_acknowledgement(self, metadata: RecordMetadata, error: KafkaError | None) -> None:
        """A record has its outcome."""
        told = _outcome(metadata, error)
        self._world.note("told", *told)
        self._world.check(not self.closes, "hooks", f"{told} was told after the close")
        self.told[told] += 1

    def close(self) -> None:
        """The producer has ended."""
        self._world.note("witness closed")
        self.closes += 1

    def check_told(self, record: Record) -> None:
        """A caller learns what became of its record: who was shown it knows that already."""
        if self._knows(record):
            outcome = _outcome(record.metadata, record.error)
            self._world.check(outcome in self.told, "hooks", f"a caller was told {outcome} before the hooks")

    def _knows(self, record: Record) -> bool:
        """Whether it was shown the record in the call that its outcome is of: another try may be refused before."""
        is_of_a_try = record.verb == "nowait" and record.error is not None
        return bool(self.shown[record.name]) and not is_of_a_try

    def violations(self, records: Sequence[Record]) -> Iterator[str]:
        """What it was not told, or too often, of the records of its producer."""
        if self.closes != 1:
            yield f"hooks: the witness was closed {self.closes} times"
        shown, told = self.shown.total(), self.told.total()
        if shown != told:
            yield f"hooks: {told} outcomes were told of {shown} records that were shown"
        known = [record for record in records if record.outcomes and self._knows(record)]
        expected = Counter(_outcome(record.metadata, record.error) for record in known)
        if untold := expected - self.told:
            yield f"hooks: nobody was told {dict(untold.most_common(3))}, which callers were"
        if self._world.plan.mood == "recreated":
            # The offsets of a topic that was made anew begin at 0 again.
            return
        places = Counter(told for told in self.told.elements() if len(told) == 3 and told[2] >= 0)
        if twice := [place for place, times in places.items() if times > 1]:
            yield f"hooks: {twice[:3]} were told more than once"


class SlowWitness(Witness):
    """The same whose hooks are coroutine functions, which take a while."""

    async def on_send(self, record: ProducerRecord) -> None:  # type: ignore[override]  # either is a hook
        """A verb was called."""
        self._note(record)
        await anyio.sleep(self._random.choice(PAUSES))
        found = next(each for each in reversed(self._world.records) if each.value == record.value)
        # Its clocks start behind the hooks.
        found.called_at = anyio.current_time()


def _outcome(metadata: RecordMetadata | None, error: KafkaError | None) -> tuple[Any, ...]:
    """What was told, as far as it is the same for hook and caller."""
    if error is not None:
        return type(error).__name__, str(error)
    assert metadata is not None
    return metadata.topic, metadata.partition, metadata.offset


def make_witnesses(world: World, name: str = "") -> list[Witness]:
    """The interceptors of a producer, by what its plan says of hooks."""
    kind = world.plan.hooks
    if kind == "none":
        return []
    if kind == "slow":
        return [SlowWitness(world, name, refuses=False)]
    return [Witness(world, name, refuses=kind == "refusing")]
