"""What the runner of `tests.simulation` needs to know about runs of transactions."""

from __future__ import annotations

from tests.simulation.runner import Kind

from .plan import make_plan
from .world import run_seed

TRANSACTIONS = Kind(run_seed, make_plan, "tests/simulation_transactions")
