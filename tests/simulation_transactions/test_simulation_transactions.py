"""The promises of transactions, whatever happens: seeds by the thousand, each a whole run of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.simulation.mutants import ROOT
from tests.simulation.runner import default_jobs, run_and_report, run_many

from .faults import KINDS
from .kind import TRANSACTIONS
from .plan import ENDINGS, MOODS, WAYS, make_plan
from .world import run_seed

SEEDS = 1000


def test_whatever_happens_transactions_are_whole_or_not_there(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    options = request.config.option
    if options.seed is not None:
        text, failure = run_and_report(options.seed, TRANSACTIONS)
        with capsys.disabled():
            print(f"\n{text}")
        assert failure is None, f"seed {options.seed} broke promises: {', '.join(failure.kinds)}"
        return
    seeds = range(options.first_seed, options.first_seed + options.transaction_seeds)
    summary = run_many(seeds, TRANSACTIONS, jobs=default_jobs())
    with capsys.disabled():
        print(f"\n{summary}")
    assert summary.seeds == len(seeds) or summary.failures
    if summary.failures:
        pytest.fail("\n\n".join(failure.report for failure in summary.failures), pytrace=False)


def test_the_seeds_reach_every_kind_of_trouble() -> None:
    plans = [make_plan(seed) for seed in range(SEEDS)]
    lives = [life for plan in plans for life in plan.lives]
    assert {plan.mood for plan in plans} == {*MOODS, "refused"}
    assert {life.ending for life in lives} == set(ENDINGS)
    assert {way for life in lives for way in life.ways} == set(WAYS)
    assert {plan.version for plan in plans} == {0, 1, 2}
    kinds = Counter(event.kind for plan in plans for event in plan.events)
    # Those that are another kind with options of their own.
    expected = {kind for weights in KINDS.values() for kind in weights} - {"no_leader", "old_epoch", "late"}
    assert min(kinds[kind] for kind in expected) >= 3
    assert kinds["stray"] >= 100
    assert min(Counter(plan.hooks for plan in plans).values()) >= 50
    assert sum(life.overlaps for life in lives) >= 50
    assert sum(plan.first_epoch is not None for plan in plans) >= 50
    assert Counter(plan.mood for plan in plans if plan.must_succeed)["mild"] >= 50


def test_a_seed_gives_the_same_trace_in_every_process_and_order() -> None:
    seeds = range(40, 56)
    command = [sys.executable, "-m", "tests.simulation", "--transactions", "--digests"]
    command += ["--first-seed", str(seeds.start), "--seeds", str(len(seeds))]
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    elsewhere = {int(seed): digest for seed, digest in map(str.split, done.stdout.splitlines())}
    backwards = {seed: run_seed(seed).digest() for seed in reversed(seeds)}
    assert elsewhere == backwards
    assert len(set(backwards.values())) == len(seeds), "different seeds, different runs"
