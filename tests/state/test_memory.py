"""The byte budget: who waits gets it in turn, and what is given up comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from krafka._speedups.append import Appender
from krafka._state.memory import BufferMemory, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable

BUDGET = 1000
ENOUGH = BUDGET // 8
"""What has to be free for the line to move at once."""


def appender_of(budget: int) -> Appender:
    return Appender(
        batch_size=100,
        buffer_memory=budget,
        max_request_size=100,
        delivery_timeout=1.0,
        monotonic=lambda: 0.0,
        on_opened=lambda _batch: None,
        on_sealed=lambda _partition: None,
    )


def memory_of(serve_soon: Callable[[], object], budget: int = BUDGET) -> BufferMemory:
    return BufferMemory(appender_of(budget), serve_soon)


class Line:
    """Those who wait, the order in which their turn came, and how often the memory asked to be looked at."""

    def __init__(self, budget: int = BUDGET) -> None:
        self.asked = 0
        self.memory = memory_of(self._ask, budget)
        self.turns: list[int] = []

    def _ask(self) -> None:
        self.asked += 1

    def join(self, name: int, needed: int) -> Ticket:
        return self.memory.join(needed, lambda: self.turns.append(name))


def test_free_memory_is_granted_at_once() -> None:
    line = Line()
    ticket = line.join(1, 400)
    assert (ticket.granted, line.memory.available, line.memory.waiting) == (400, 600, 0)
    assert line.turns == [1]


def test_a_small_request_does_not_overtake_a_large_one() -> None:
    line = Line()
    line.join(1, 900)
    large, small = line.join(2, 500), line.join(3, 10)
    assert line.memory.waiting == 2
    assert (large.granted, small.granted) == (0, 0)
    line.memory.release(400)
    assert line.turns == [1, 2]
    assert small.granted == 0
    line.memory.release(ENOUGH)
    assert line.turns == [1, 2, 3]
    assert line.memory.available == ENOUGH - 10


def test_a_little_memory_keeps_the_line_waiting_for_a_moment() -> None:
    line = Line()
    line.join(1, BUDGET)
    line.join(2, 10)
    line.join(3, 10)
    line.memory.release(ENOUGH // 2)
    line.memory.release(1)
    assert (line.turns, line.asked) == ([1], 1)
    line.memory.serve()
    assert line.turns == [1, 2, 3]
    assert line.memory.available == ENOUGH // 2 + 1 - 20


def test_what_is_asked_for_is_asked_again_after_it_was_done() -> None:
    line = Line()
    line.join(1, BUDGET)
    line.join(2, ENOUGH - 1)
    line.memory.release(1)
    line.memory.serve()
    assert line.turns == [1]
    line.memory.release(1)
    assert (line.turns, line.asked) == ([1], 2)


def test_a_mebibyte_moves_the_line_of_a_large_memory() -> None:
    line = Line(64 * 1024 * 1024)
    line.join(1, 64 * 1024 * 1024)
    line.join(2, 1)
    line.memory.release(1024 * 1024 - 1)
    assert line.turns == [1]
    line.memory.release(1)
    assert line.turns == [1, 2]


def test_one_release_may_serve_many() -> None:
    line = Line()
    line.join(0, 1000)
    for name in range(1, 5):
        line.join(name, 200)
    line.memory.release(700)
    assert line.turns == [0, 1, 2, 3]
    assert line.memory.available == 100


def test_the_appender_yields_to_the_line_while_there_is_one() -> None:
    appender = appender_of(BUDGET)
    memory = BufferMemory(appender, lambda: None)
    memory.join(BUDGET, lambda: None)
    assert not appender.contended
    ticket = memory.join(1, lambda: None)
    assert appender.contended
    memory.leave(ticket)
    assert not appender.contended


def test_who_leaves_the_front_lets_the_next_go() -> None:
    line = Line()
    line.join(0, 500)
    front, next_one = line.join(1, 600), line.join(2, 500)
    line.memory.leave(front)
    assert line.turns == [0, 2]
    assert next_one.granted == 500
    line.memory.leave(front)
    assert line.memory.available == 0


def test_who_leaves_after_the_turn_came_gives_the_bytes_back_to_the_line() -> None:
    line = Line()
    first, second = line.join(1, 1000), line.join(2, 700)
    line.memory.leave(first)
    assert first.granted == 0
    assert second.granted == 700
    assert line.memory.available == 300
    line.memory.leave(first)
    assert line.memory.available == 300


class FairMemory(RuleBasedStateMachine):
    """Against a plain list of who waits for what."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = False
        self.memory = memory_of(self._ask)
        self.free = BUDGET
        self.line: list[tuple[int, Ticket]] = []
        self.holding: list[tuple[int, Ticket]] = []
        self.turns: list[int] = []
        self.expected: list[int] = []
        self.names = 0

    def _ask(self) -> None:
        assert not self.asked
        self.asked = True

    def freed(self, size: int) -> None:
        self.free += size
        if self.free >= ENOUGH:
            self.serve()
        elif self.line:
            # The memory has asked, now or before.
            assert self.asked

    @rule()
    def serve_all(self) -> None:
        self.memory.serve()
        self.serve()

    def serve(self) -> None:
        self.asked = False
        while self.line and self.line[0][1].needed <= self.free:
            name, ticket = self.line.pop(0)
            self.free -= ticket.needed
            self.holding.append((name, ticket))
            self.expected.append(name)

    @rule(needed=st.integers(1, BUDGET))
    def join(self, needed: int) -> None:
        name = self.names = self.names + 1
        ticket = self.memory.join(needed, lambda: self.turns.append(name))
        self.line.append((name, ticket))
        if len(self.line) == 1:
            self.serve()

    @precondition(lambda self: self.holding)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.holding) - 1))
        _, ticket = self.holding.pop(place)
        granted, ticket.granted = ticket.granted, 0
        self.memory.release(granted)
        self.freed(granted)

    @precondition(lambda self: self.holding)
    @rule(data=st.data())
    def leave_holding(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.holding) - 1))
        _, ticket = self.holding.pop(place)
        self.memory.leave(ticket)
        self.freed(ticket.needed)

    @precondition(lambda self: self.line)
    @rule(data=st.data())
    def leave_waiting(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.line) - 1))
        _, ticket = self.line.pop(place)
        self.memory.leave(ticket)
        self.serve()

    @invariant()
    def as_the_list_says(self) -> None:
        assert self.memory.available == self.free >= 0
        assert self.memory.waiting == len(self.line)
        assert self.turns == self.expected
        assert all(ticket.granted == ticket.needed for _, ticket in self.holding)
        assert all(ticket.granted == 0 for _, ticket in self.line)


TestFairMemory = FairMemory.TestCase
TestFairMemory.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
