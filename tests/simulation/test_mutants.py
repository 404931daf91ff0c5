"""The simulation notices a broken producer: the four rules it must know, each broken in a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .mutants import ROOT, apply, hunt
from .mutations import ALL, NAMED, NOT_FOUND, Mutation

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("mutation", NAMED, ids=lambda mutation: mutation.name.replace(" ", "-"))
def test_a_broken_rule_is_found(mutation: Mutation) -> None:
    catch = hunt(mutation, jobs=1)
    assert catch is not None


@pytest.mark.parametrize("mutation", [*ALL, *NOT_FOUND], ids=lambda mutation: mutation.name.replace(" ", "-"))
def test_every_mutation_fits_the_sources(mutation: Mutation, tmp_path: Path) -> None:
    copy = tmp_path / mutation.path
    copy.parent.mkdir(parents=True)
    copy.write_text((ROOT / mutation.path).read_text())
    apply(mutation, tmp_path)
    assert copy.read_text() != (ROOT / mutation.path).read_text()
