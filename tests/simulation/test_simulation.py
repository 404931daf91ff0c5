"""The promises of the producer, whatever happens: seeds by the thousand, each a whole run of its own."""

from __future__ import annotations

from collections import Counter

import pytest

from .faults import KINDS
from .plan import ENDINGS, MOODS, make_plan
from .runner import default_jobs, run_and_report, run_many


def test_whatever_happens_every_promise_holds(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    options = request.config.option
    if options.seed is not None:
        text, failure = run_and_report(options.seed)
        with capsys.disabled():
            print(f"\n{text}")
        assert failure is None, f"seed {options.seed} broke promises: {', '.join(failure.kinds)}"
        return
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    summary = run_many(seeds, jobs=default_jobs())
    with capsys.disabled():
        print(f"\n{summary}")
    assert summary.seeds == len(seeds) or summary.failures
    if summary.failures:
        pytest.fail("\n\n".join(failure.report for failure in summary.failures), pytrace=False)


def test_the_seeds_reach_every_kind_of_trouble() -> None:
    plans = [make_plan(seed) for seed in range(2000)]
    moods = Counter(plan.mood for plan in plans)
    endings = Counter(plan.ending for plan in plans)
    kinds = Counter(event.kind for plan in plans for event in plan.events)
    assert set(moods) == set(MOODS)
    assert set(endings) == set(ENDINGS)
    expected = {kind for weights in KINDS.values() for kind in weights} - {"no_leader"}
    assert expected <= set(kinds)
    assert min(kinds[kind] for kind in expected) >= 20
    assert sum(not plan.acknowledged for plan in plans) >= 100
    assert sum(not plan.acknowledged and plan.keeps_unacknowledged for plan in plans) >= 3
    assert min(Counter(plan.hooks for plan in plans).values()) >= 100
    partitioners = Counter(type(plan.options.get("partitioner")).__name__ for plan in plans)
    assert len(partitioners) == 8
    assert sum("topics" in plan.options for plan in plans) >= 500
    must_deliver = Counter(plan.mood for plan in plans if plan.must_deliver)
    assert min(must_deliver[mood] for mood in ("calm", "passing", "forgetful", "recreated")) >= 20
