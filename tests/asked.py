"""How much of a test is asked for, by an option of pytest or a variable of the environment."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def number(request: pytest.FixtureRequest, name: str) -> int | None:
    """What `--some-name` or KRAFKA_SOME_NAME gives for the option called `some_name`; None if neither does."""
    # pytest knows an option only where the folder that adds it is named on its command line.
    given = request.config.getoption(name, default=None)
    if given is None:
        given = os.environ.get(f"KRAFKA_{name.upper()}")
    return None if given is None else int(given)


def seed(request: pytest.FixtureRequest, name: str) -> int:
    """The seed that is asked for by the option called so, or a new one; shown with the test's failure."""
    chosen = number(request, name)
    if chosen is None:
        chosen = secrets.randbelow(10**6)
    option = name.replace("_", "-")
    print(f"seed {chosen}: to repeat, pytest {request.node.nodeid!r} --{option}={chosen}")
    return chosen
