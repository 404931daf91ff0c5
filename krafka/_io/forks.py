"""What a fork leaves in the child: producers without a broker, which have to refuse what nobody would send."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from weakref import WeakSet

from krafka._speedups.batch import note_fork
from krafka.errors import ProducerStateError

if TYPE_CHECKING:
    from krafka._speedups.append import Appender

_appenders: WeakSet[Appender] = WeakSet()


def refuse_in_children(appender: Appender) -> None:
    """See that in a forked child this appender takes no records, at no cost to those that it takes here."""
    _appenders.add(appender)


def _refuse() -> None:
    note_fork()
    for appender in _appenders:
        try:
            appender.check_caller()
        except ProducerStateError as error:
            appender.refuse_with(error, granted=True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_refuse)
