"""Takes a mechanism's steps by hand, as the room that speaks with a broker does."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from krafka.auth._base import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from krafka.auth._base import Steps

TESTS = Path(__file__).parent.parent


def drive(steps: Steps, answer: Callable[[bytes], bytes]) -> list[bytes]:
    """What the mechanism sends to a broker that answers so."""
    sent: list[bytes] = []
    value: Any = None
    while True:
        try:
            step = steps.send(value)
        except StopIteration:
            return sent
        if isinstance(step, Work):
            value = step.run()
        else:
            sent.append(step)
            value = answer(step)


def take(steps: Steps, answers: Iterable[bytes]) -> list[bytes]:
    """What the mechanism sends where these are the broker's answers; it may leave some of them, and not want more."""
    rest = iter(answers)
    return drive(steps, lambda _: next(rest))


def everything_told(error: BaseException) -> str:
    """The error's text and notes, and the variables of every frame but a test's, with its causes and contexts."""
    told = [str(error), repr(error)]
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is None:
            continue
        told += traceback.format_exception_only(each)
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if not Path(frame.f_code.co_filename).is_relative_to(TESTS):
                told += [f"{name} = {_shown(value)}" for name, value in frame.f_locals.items()]
        pending += (each.__cause__, each.__context__)
        pending += getattr(each, "exceptions", ())
    return "\n".join(told)


def _shown(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # of an object that is only half made
        return f"<{type(error).__name__}>"
