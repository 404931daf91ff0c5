"""One spoilt response through the path of a received one, and whether all that must hold did."""

from __future__ import annotations

import re
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from krafka._state.framing import FrameReader
from krafka._state.pipeline import RequestPipeline
from krafka._wire.frames import decode_message, encode_message
from krafka.errors import ProtocolError

from . import oracle
from .corpus import CORRELATION_ID, Specimen, corpus
from .mutator import mutated, stream_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from krafka._wire.schema import Response

MAX_FRAME_BYTES = 100 * 1024 * 1024

# An object costs more than its bytes on the wire: the cheapest element of an array of structs takes 8 bytes there and
# 200 here. What is fixed is the error, its text and the frame's own buffer.
MEMORY_FACTOR = 48
MEMORY_FIXED = 12_000

# A thread's own time, so other processes do not count.
SECONDS_FIXED = 0.002
SECONDS_A_BYTE = 2e-6

LONGEST_TEXT = 500
NEGATIVE = re.compile(r"-\d+ (bytes )?are left")
CASES_AHEAD = 200
WATCHED_BLOCKS = 4
"""Of so many blocks of cases the memory of one is watched, which makes it three times as slow; all have a limit."""

REFUSALS = (
    "announced a response of",
    "answered with correlation id",
    "while no request was open",
    "no room for its correlation id",
    "bytes are left over after the message",
    " elements of at least ",
    " announces ",
    "the header needs ",
    " tag ",
    " of its ",
    " needs ",
    " is null before offset ",
    " has the length ",
    " longer than Kafka's ",
    " is not UTF-8",
    " more than 32 bits ",
)
"""What tells the kinds of refusal apart in their texts; the first that fits counts."""


class Case(NamedTuple):
    """One spoilt response: what it was made from, and the pieces in which it arrives."""

    seed: int
    number: int
    specimen: Specimen
    chunks: list[bytes]

    @property
    def size(self) -> int:
        """Bytes that arrive."""
        return sum(map(len, self.chunks))

    def __str__(self) -> str:
        name = f"{self.specimen.response.__name__} v{self.specimen.version}"
        return f"response {self.number} of seed {self.seed}: {name}, {self.size} bytes"


class FoundError(AssertionError):
    """Something that must not happen, with the case in which it did."""


@dataclass
class Tally:
    """What came of a number of cases."""

    outcomes: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    responses: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    most_memory: tuple[float, str] = (0.0, "")
    """Bytes allocated at most for each byte received, beyond the fixed part."""
    slowest: tuple[float, str] = (0.0, "")
    """Seconds of one thread."""
    rss_bytes: int = 0
    """The most a process that examined them had in memory."""

    def add(self, other: Tally) -> None:
        """Take in what came of other cases."""
        self.outcomes += other.outcomes
        self.refusals += other.refusals
        self.responses += other.responses
        self.findings += other.findings
        self.most_memory = max(self.most_memory, other.most_memory)
        self.slowest = max(self.slowest, other.slowest)
        self.rss_bytes = max(self.rss_bytes, other.rss_bytes)


def case_of(seed: int, number: int) -> Case:
    """The case of that number, always the same."""
    random = Random((seed << 40) + number)
    specimens = corpus()
    specimen = specimens[number % len(specimens)]
    if random.random() < 0.5:
        other = specimens[(number + random.randint(-12, 12)) % len(specimens)]
    else:
        other = random.choice(specimens)
    return Case(seed, number, specimen, stream_of(random, mutated(random, specimen.frame, other.frame)))


def receive(case: Case, pipeline: RequestPipeline, frames: FrameReader) -> Response | None:
    """What a connection does with the bytes; None while the response is not whole."""
    response = None
    for chunk in case.chunks:
        for frame in frames.feed(chunk):
            response = pipeline.match(frame)[1]
    return response


def waiting_for(specimen: Specimen) -> RequestPipeline:
    """A pipeline with one request on its way, which the specimen would answer."""
    pipeline = RequestPipeline("krafka", "broker 1 at kafka:9092", CORRELATION_ID)
    pipeline.queue(
        specimen.request(), specimen.version, _ignore, expects_response=True, timeout=30.0, deadline=30.0
    )
    pipeline.take_chunk()
    return pipeline


def _ignore(_outcome: object, _now: float) -> None:
    return None


class Received(NamedTuple):
    """What a connection would know after a case's bytes, and what that took."""

    case: Case
    pipeline: RequestPipeline
    held_bytes: int
    outcome: Response | Exception | None
    """None while the response is not whole."""
    seconds: float
    """Of this thread."""
    peak: int
    """Bytes allocated at most meanwhile, 0 unless tracemalloc runs."""


Receive = Callable[[Case, RequestPipeline, FrameReader], "Response | None"]


def attempt(case: Case, receive: Receive = receive) -> Received:
    """Have one case received; nothing is said about it yet."""
    pipeline = waiting_for(case.specimen)
    frames = FrameReader(MAX_FRAME_BYTES, "broker 1 at kafka:9092")
    outcome: Response | Exception | None
    before = _watch_memory()
    began = time.thread_time()
    try:
        outcome = receive(case, pipeline, frames)
    except Exception as error:
        outcome = error
    seconds = time.thread_time() - began
    peak = tracemalloc.get_traced_memory()[1] - before if tracemalloc.is_tracing() else 0
    return Received(case, pipeline, frames.held_bytes, outcome, seconds, peak)


def judge(received: Received, tally: Tally, receive: Receive = receive) -> None:
    """Note what came of a case. Raises `FoundError`."""
    case, pipeline, held_bytes, outcome, seconds, peak = received
    tally.responses[case.specimen.response.__name__] += 1
    _check_memory(case, peak, tally)
    _check_time(case, seconds, tally, receive)
    if isinstance(outcome, ProtocolError):
        tally.outcomes["refused"] += 1
        _check_refusal(case, outcome, pipeline, tally)
    elif isinstance(outcome, Exception):
        text = f"{case}: {type(outcome).__name__} instead of ProtocolError: {outcome}"
        raise FoundError(text) from outcome
    elif outcome is None:
        tally.outcomes["incomplete"] += 1
        if held_bytes > case.size or pipeline.in_flight != 1:
            raise FoundError(f"{case}: {held_bytes} bytes are held")
    else:
        tally.outcomes["decoded"] += 1
        _check_round_trip(case, outcome)
    _check_against_oracle(case, outcome)


def _watch_memory() -> int:
    if not tracemalloc.is_tracing():
        return 0
    tracemalloc.reset_peak()
    return tracemalloc.get_traced_memory()[0]


def _check_memory(case: Case, peak: int, tally: Tally) -> None:
    if peak > MEMORY_FACTOR * case.size + MEMORY_FIXED:
        raise FoundError(f"{case}: {peak} bytes were allocated for it")
    proportion = (peak - MEMORY_FIXED) / case.size
    if proportion > tally.most_memory[0]:
        tally.most_memory = (proportion, str(case))


def _check_time(case: Case, seconds: float, tally: Tally, receive: Receive) -> None:
    allowed = SECONDS_FIXED + SECONDS_A_BYTE * case.size
    attempts = 5
    while seconds > allowed and attempts:
        # Once may be chance: a collection of garbage, a page fault.
        attempts -= 1
        pipeline, frames = waiting_for(case.specimen), FrameReader(MAX_FRAME_BYTES, "broker")
        began = time.thread_time()
        with suppress(ProtocolError):
            receive(case, pipeline, frames)
        seconds = min(seconds, time.thread_time() - began)
    if seconds > allowed:
        raise FoundError(f"{case}: it took {seconds:.3f} s")
    if seconds > tally.slowest[0]:
        tally.slowest = (seconds, str(case))


def _check_against_oracle(case: Case, outcome: Response | Exception | None) -> None:
    """Hold the compiled decoder to the plain one, wherever a whole frame with the right header came to it."""
    data = b"".join(case.chunks)
    frame = data[4:]
    if len(frame) < 4 or int.from_bytes(data[:4], "big") != len(frame):
        return
    if int.from_bytes(frame[:4], "big", signed=True) != CORRELATION_ID:
        if not isinstance(outcome, Exception):
            raise FoundError(f"{case}: decoded in spite of its correlation id")
        return
    try:
        expected = oracle.decode(case.specimen.response, case.specimen.version, frame)
    except oracle.RefusedError as reason:
        if not isinstance(outcome, Exception):
            raise FoundError(f"{case}: decoded, though {reason}: {outcome}") from reason
    else:
        if isinstance(outcome, Exception):
            raise FoundError(f"{case}: a sound response is refused: {outcome}")
        if outcome != expected:
            raise FoundError(f"{case}: decoded as {outcome} instead of {expected}")


def _check_refusal(case: Case, refusal: ProtocolError, pipeline: RequestPipeline, tally: Tally) -> None:
    text = str(refusal)
    if not 10 < len(text) <= LONGEST_TEXT:
        raise FoundError(f"{case}: refused with a text of {len(text)} characters: {text[:200]!r}")
    if NEGATIVE.search(text):
        raise FoundError(f"{case}: more was read than there is: {text}")
    kind = next((kind for kind in REFUSALS if kind in text), None)
    if kind is None:
        raise FoundError(f"{case}: refused in words nobody expects: {text}")
    tally.refusals[kind] += 1
    if pipeline.in_flight + pipeline.answered != 1:
        raise FoundError(f"{case}: the request is gone without an answer")


def _check_round_trip(case: Case, response: Response) -> None:
    version = case.specimen.version
    if type(response) is not case.specimen.response:
        raise FoundError(f"{case}: decoded as {type(response).__name__}")
    try:
        encoded = b"".join(encode_message(response, version))
        again = decode_message(case.specimen.response, version, encoded)
    except Exception as error:
        raise FoundError(f"{case}: what was decoded cannot be sent: {error}") from error
    if again != response:
        raise FoundError(f"{case}: decoded, encoded and decoded again it is different")


def run(
    seed: int, numbers: Iterable[int], *, begin: Callable[[Case], object] = id, most_findings: int = 5
) -> Tally:
    """Examine the cases of these numbers, watching memory for some; ends after so many findings.

    `begin` is called with each case before anything else looks at it.
    """
    tally = Tally()
    ahead = iter(numbers)
    while len(tally.findings) < most_findings:
        # All else is done before and after, because it takes much longer while memory is watched.
        cases = [case_of(seed, number) for number in islice(ahead, CASES_AHEAD)]
        if not cases:
            break
        received = []
        with _watching_memory(cases[0].number // CASES_AHEAD % WATCHED_BLOCKS == 0):
            for case in cases:
                begin(case)
                received.append(attempt(case))
        for each in received:
            _judge_or_note(each, tally)
    return tally


@contextmanager
def _watching_memory(is_watched: bool) -> Iterator[None]:
    if is_watched:
        tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def _judge_or_note(received: Received, tally: Tally) -> None:
    try:
        judge(received, tally)
    except FoundError as finding:
        tally.findings.append(str(finding))
