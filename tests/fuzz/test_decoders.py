"""Tens of thousands of spoilt responses, and whether what watches over them would see a broken decoder."""

from __future__ import annotations

import os
import signal
import time
import tracemalloc
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from krafka._wire.api import APIS
from krafka._wire.frames import decode_response
from krafka.errors import ProtocolError

from .adversaries import adversaries
from .corpus import Specimen, corpus
from .judge import (
    MEMORY_FACTOR,
    MEMORY_FIXED,
    REFUSALS,
    Case,
    FoundError,
    Tally,
    attempt,
    case_of,
    judge,
    receive,
)
from .mutator import uvarint
from .runner import run_in_processes

if TYPE_CHECKING:
    from krafka._state.framing import FrameReader
    from krafka._state.pipeline import RequestPipeline

RESPONSES = 50_000
SEED = 1


def test_spoilt_responses_are_protocol_errors_or_sound_responses() -> None:
    tally = run_in_processes(SEED, RESPONSES, jobs=2)
    assert not tally.findings, "\n".join(tally.findings)
    assert sum(tally.outcomes.values()) == RESPONSES
    assert set(tally.outcomes) == {"refused", "decoded", "incomplete"}
    assert min(tally.outcomes.values()) > RESPONSES // 100
    assert set(tally.responses) == {api.response.__name__ for api in APIS}
    assert set(tally.refusals) >= set(REFUSALS) - {"no room for its correlation id"}, (
        "a check was never reached"
    )


def test_the_corpus_has_every_version_of_every_response() -> None:
    versions = Counter((specimen.response, specimen.version) for specimen in corpus())
    assert set(versions) == {
        (api.response, version)
        for api in APIS
        for version in range(api.response.MIN_VERSION, api.response.MAX_VERSION + 1)
    }
    for specimen in corpus():
        decode_response(specimen.response, specimen.version, specimen.frame)


def test_a_number_stands_for_the_same_bytes_each_time() -> None:
    assert [case_of(5, number) for number in range(300)] == [case_of(5, number) for number in range(300)]
    assert case_of(5, 1).chunks != case_of(6, 1).chunks


def test_nearly_every_case_differs_from_what_it_was_made_from() -> None:
    cases = [case_of(1, number) for number in range(2000)]
    spoilt = sum(b"".join(case.chunks)[4:] != case.specimen.frame for case in cases)
    assert spoilt > 1800
    assert len({b"".join(case.chunks) for case in cases}) > 1800


# ---- the judge sees what is wrong -----------------------------------------------------------------------------


def sound_case(number: int = 0) -> Case:
    specimen = corpus()[number]
    data = len(specimen.frame).to_bytes(4, "big") + specimen.frame
    return Case(0, number, specimen, [data])


def raises(case: Case, pipeline: RequestPipeline, frames: FrameReader) -> Any:
    raise IndexError("list index out of range")


def is_large(case: Case, pipeline: RequestPipeline, frames: FrameReader) -> Any:
    bytearray(2**20)
    return receive(case, pipeline, frames)


def is_slow(case: Case, pipeline: RequestPipeline, frames: FrameReader) -> Any:
    until = time.thread_time() + 0.02
    while time.thread_time() < until:
        pass
    return receive(case, pipeline, frames)


def gives_another_class(case: Case, pipeline: RequestPipeline, frames: FrameReader) -> Any:
    receive(case, pipeline, frames)
    return APIS[-1].response()


def gives_another_value(case: Case, pipeline: RequestPipeline, frames: FrameReader) -> Any:
    response: Any = receive(case, pipeline, frames)
    response.throttle_time_ms ^= 1
    return response


def refuses_what_is_sound(case: Case, pipeline: RequestPipeline, frames: FrameReader) -> Any:
    raise ProtocolError("responses needs 4 bytes, 3 are left")


def gives_what_cannot_be_sent(case: Case, pipeline: RequestPipeline, frames: FrameReader) -> Any:
    response: Any = receive(case, pipeline, frames)
    response.throttle_time_ms = 2**40
    return response


def refuses_at_length(case: Case, pipeline: RequestPipeline, frames: FrameReader) -> Any:
    raise ProtocolError("responses needs 4 bytes" * 100)


def refuses_in_other_words(case: Case, pipeline: RequestPipeline, frames: FrameReader) -> Any:
    raise ProtocolError("something is the matter")


def reads_too_far(case: Case, pipeline: RequestPipeline, frames: FrameReader) -> Any:
    raise ProtocolError("Produce response v3: -1 bytes are left over after the message")


def loses_the_request(case: Case, pipeline: RequestPipeline, frames: FrameReader) -> Any:
    pipeline.drain()
    raise ProtocolError("responses needs 4 bytes, 3 are left")


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (raises, "IndexError instead of ProtocolError: list index out of range"),
        (is_large, "bytes were allocated"),
        (is_slow, "it took 0.02"),
        (gives_another_class, "decoded as PushTelemetryResponse"),
        (gives_another_value, "throttle_time_ms=.* instead of .*throttle_time_ms="),
        (refuses_what_is_sound, "a sound response is refused"),
        (gives_what_cannot_be_sent, "cannot be sent"),
        (refuses_at_length, "a text of 2300 characters"),
        (refuses_in_other_words, "words nobody expects"),
        (reads_too_far, "more was read than there is"),
        (loses_the_request, "the request is gone"),
    ],
)
def test_a_broken_decoder_is_found(broken: Any, words: str) -> None:
    judge(attempt(sound_case()), Tally())
    tracemalloc.start()
    try:
        received = attempt(sound_case(), broken)
    finally:
        tracemalloc.stop()
    with pytest.raises(FoundError, match=words) as caught:
        judge(received, Tally(), broken)
    assert str(caught.value).startswith("response 0 of seed 0: ProduceResponse v3")


def dies(seed: int, responses: int, job: int, jobs: int, at: Any, results: Any) -> None:
    at.value = 4321
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_dies_names_the_response_it_died_of() -> None:
    tally = run_in_processes(SEED, 10, jobs=1, work=dies)
    assert tally.findings == ["the process died with exit code -9 of response 4321 of seed 1"]


# ---- the dearest there are ------------------------------------------------------------------------------------


def decode(specimen: Specimen) -> bool:
    try:
        decode_response(specimen.response, specimen.version, specimen.frame)
    except ProtocolError:
        return False
    return True


def test_the_dearest_responses_stay_in_proportion_to_their_bytes() -> None:
    decoded = 0
    tracemalloc.start()
    try:
        for name, specimen in adversaries(4000):
            decode(specimen)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            decoded += decode(specimen)
            peak = tracemalloc.get_traced_memory()[1] - before
            assert peak <= MEMORY_FACTOR * len(specimen.frame) + MEMORY_FIXED, name
    finally:
        tracemalloc.stop()
    assert decoded > 500


def seconds(specimen: Specimen) -> float:
    """The least of a few, of this thread alone."""
    taken = []
    for _ in range(4):
        began = time.thread_time()
        decode(specimen)
        taken.append(time.thread_time() - began)
    return min(taken)


def test_eight_times_the_bytes_take_no_more_than_some_eight_times_as_long() -> None:
    small, large = dict(_by_path(adversaries(8_000))), dict(_by_path(adversaries(64_000)))
    assert set(small) == set(large)
    for path, specimen in large.items():
        allowed = 3 * 8 * seconds(small[path]) + 0.002
        assert seconds(specimen) < allowed, path


def _by_path(named: Any) -> Any:
    """Of each name, its count left out, the newest version: all versions share their code."""
    for name, specimen in named:
        words = name.split(",")
        yield (
            words[0].partition(" v")[0]
            + words[0].partition(" v")[2].lstrip("0123456789")
            + ",".join(words[2:]),
            specimen,
        )


@pytest.mark.parametrize("text", [b"\xff" * 32_767, b"a" * 32_766 + b"\xff", b"\xed\xa0\x80" * 10_922])
def test_a_long_text_that_is_no_utf8_is_not_repeated_in_the_error(text: bytes) -> None:
    specimen = next(
        each for each in corpus() if each.response.__name__ == "MetadataResponse" and each.version == 12
    )
    broker = bytes(4) + uvarint(len(text) + 1) + text
    frame = specimen.frame[:4] + b"\0" + bytes(4) + b"\x02" + broker + bytes(20)
    with pytest.raises(ProtocolError, match=r"brokers\[0\]\.host at offset 17 is not UTF-8") as caught:
        decode_response(specimen.response, specimen.version, frame)
    assert len(str(caught.value)) < 200
