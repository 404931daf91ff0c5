"""Functions of the user's, plain or async: neither holds up the event loop."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Callable


async def result_of(function: Callable[[], Any]) -> Any:
    """Call an async function on the event loop, a plain one in a thread, so that it may block; return its result."""
    is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - for its kind, not for whether it is there
    )
    found: Any
    if is_async:
        found = function()
    else:
        found = await anyio.to_thread.run_sync(function, abandon_on_cancel=True)
    return await found if inspect.isawaitable(found) else found
