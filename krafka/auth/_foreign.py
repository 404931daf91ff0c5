"""Errors of other libraries that were given secrets: told in our words, without what their frames hold."""

from __future__ import annotations

from typing import TypeVar

_ErrorT = TypeVar("_ErrorT", bound=BaseException)


def without_frames(error: _ErrorT) -> _ErrorT:
    """The error to chain as a cause, without its frames, whose variables a dump of a traceback would show.

    Its class and its text stay, and those of its own causes.
    """
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            each.__traceback__ = None
            pending += (each.__cause__, each.__context__)
    return error


def reason(error: BaseException) -> str:
    """What an error says: its class and its text, or those of the first behind it that has a text.

    trio's errors of connections say nothing themselves.
    """
    found: BaseException | None = error
    while found is not None and not str(found):
        found = found.__cause__ or found.__context__
    told = error if found is None else found
    return f"{type(told).__name__}: {told}" if str(told) else type(told).__name__
