"""The clock that an event loop's own deadlines go by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.lowlevel import current_token

if TYPE_CHECKING:
    from collections.abc import Callable


def event_loop_clock() -> Callable[[], float]:
    """What `anyio.current_time` reads in this event loop, without finding out each time which loop that is."""
    token = current_token()
    # asyncio's loops have it; one call less than through anyio's backend.
    time: Callable[[], float] | None = getattr(token.native_token, "time", None)
    return token.backend_class.current_time if time is None else time
