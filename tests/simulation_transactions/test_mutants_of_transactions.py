"""The simulation notices transactions that are broken: the rules it must know before others, each broken in a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulation.mutants import ROOT, apply, hunt

from .mutations import ALL, NAMED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulation.mutations import Mutation


@pytest.mark.parametrize("mutation", NAMED, ids=lambda mutation: mutation.name.replace(" ", "-"))
def test_a_broken_rule_is_found(mutation: Mutation) -> None:
    catch = hunt(mutation, jobs=1, transactions=True)
    assert catch is not None


@pytest.mark.parametrize("mutation", ALL, ids=lambda mutation: mutation.name.replace(" ", "-"))
def test_every_mutation_fits_the_sources(mutation: Mutation, tmp_path: Path) -> None:
    copy = tmp_path / mutation.path
    copy.parent.mkdir(parents=True)
    copy.write_text((ROOT / mutation.path).read_text())
    apply(mutation, tmp_path)
    assert copy.read_text() != (ROOT / mutation.path).read_text()
