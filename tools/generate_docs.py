"""Writes what the documentation takes from the code's own tables: rules, errors, states, options and presets.

    python tools/generate_docs.py [folder]

Sphinx runs it (docs/conf.py) with `docs/_build` as the folder; the pages include the files by name.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from state_diagrams import draw  # noqa: E402 - found by the line above

from krafka._descriptions import as_given  # noqa: E402 - as above
from krafka._presets import PRESETS  # noqa: E402 - as above
from krafka._state import lives, rules  # noqa: E402 - as above
from krafka._state.lives import (  # noqa: E402 - as above
    BatchState,
    ConnectionState,
    NumberingState,
    ProducerState,
)
from krafka.config import ProducerConfig  # noqa: E402 - as above
from krafka.errors import error_classes_by_code  # noqa: E402 - as above

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from enum import Enum

    from krafka._descriptions import OptionDescription
    from krafka._state.lives import State, Step
    from krafka._state.rules import Rule

EFFECTS = (rules.Batch, rules.Written, rules.Number, rules.Producer, rules.Transaction)

LIVES: Mapping[str, tuple[str, Sequence[Step], Mapping[State, tuple[float, float]]]] = {
    "batch": (
        "The states of a batch",
        lives.BATCH_LIFE,
        {
            BatchState.DIVIDED: (1, 0),
            BatchState.OPEN: (0, 1.1),
            BatchState.SEALED: (1, 1.1),
            BatchState.ON_WIRE: (2, 1.1),
            BatchState.ACKNOWLEDGED: (3, 1.1),
            BatchState.FAILED: (0.9, 2.2),
            BatchState.WAITING: (2, 2.2),
            BatchState.OVERDUE: (3, 2.2),
        },
    ),
    "numbering": (
        "The states of a partition's sequence numbers",
        lives.NUMBERING_LIFE,
        {
            NumberingState.BEHIND: (0, 1.1),
            NumberingState.FIRST: (1.15, 1.1),
            NumberingState.FLOWING: (2.3, 1.1),
            NumberingState.UNRESOLVED: (1.15, 2.3),
            NumberingState.GAP: (1.15, 0),
        },
    ),
    "producer": (
        "The states of a producer",
        lives.PRODUCER_LIFE,
        {
            ProducerState.NEW: (0, 0),
            ProducerState.OPEN: (1, 0),
            ProducerState.CLOSING: (2, 0),
            ProducerState.CLOSED: (3, 0),
            ProducerState.FAILED: (2, 1),
        },
    ),
    "connection": (
        "The states of a connection",
        lives.CONNECTION_LIFE,
        {
            ConnectionState.NEW: (0, 0),
            ConnectionState.CONNECTING: (1, 0),
            ConnectionState.SHAKING_HANDS: (2, 0),
            ConnectionState.OPEN: (3, 0),
            ConnectionState.CLOSED: (1.5, 1),
        },
    ),
}
"""Of each picture the title, the steps, and the column and row of each state."""


def word(value: Enum) -> str:
    """An effect or a state as the tables name it."""
    return value.name.lower().replace("_", " ")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def _effects(rule: Rule) -> list[str]:
    return [word(value) for value in (rule.batch, rule.written, rule.number, rule.producer, rule.transaction)]


def coded_rules() -> str:
    """What becomes of a record for each code a Produce answer may carry, and what to do about it."""
    head = [
        "code",
        "error",
        "batch",
        "in the log",
        "number",
        "producer",
        "transaction",
        "what it says and what to do",
    ]
    return table(
        head,
        (
            [rule.code, f"`{rule.error.__name__}`", *_effects(rule), rule.error.summary]
            for rule in rules.PRODUCE_RULES
        ),
    )


def client_rules() -> str:
    """The same for what krafka finds by itself."""
    head = ["what happened", "error", "batch", "in the log", "number", "producer", "transaction"]
    return table(
        head,
        (
            [when[0].upper() + when[1:], f"`{rule.error.__name__}`", *_effects(rule)]
            for when, rule in rules.CLIENT_RULES.items()
        ),
    )


def other_codes() -> str:
    """Kafka's other codes, for which their class decides."""
    ruled = {rule.code for rule in rules.PRODUCE_RULES}
    others = {code: error for code, error in error_classes_by_code().items() if code not in ruled}
    return table(
        ["code", "error", "batch", "what it says"],
        (
            [code, f"`{error.__name__}`", word(rules.rule_for(error).batch), error.summary]
            for code, error in others.items()
        ),
    )


def sources() -> str:
    """Where each rule comes from."""
    coded = ([f"{rule.error.code_name} ({rule.code})", rule.source] for rule in rules.PRODUCE_RULES)
    found = ([when[0].upper() + when[1:], rule.source] for when, rule in rules.CLIENT_RULES.items())
    return table(["error", "the rule is that of"], [*coded, *found])


def legend() -> str:
    """What the words in the tables mean."""
    rows = [[kind.__name__.lower(), word(value), f"{value.value}"] for kind in EFFECTS for value in kind]
    return table(["column", "word", "meaning"], rows)


def states(steps: Sequence[Step]) -> str:
    """The states of a picture, and its steps by their numbers."""
    kind = type(steps[0].after)
    named = table(["state", "meaning"], ([f"`{state.name}`", state.value] for state in kind))
    numbered = table(
        ["step", "from", "to", "when"],
        (
            [
                number,
                ", ".join(f"`{state.name}`" for state in step.before) or "(it begins so)",
                f"`{step.after.name}`",
                step.when,
            ]
            for number, step in enumerate(steps, 1)
        ),
    )
    return f"{named}\n{numbered}"


def options() -> str:
    """Every option, with an anchor of its name."""
    return "\n".join(_option(option) for option in ProducerConfig.describe())


def _option(option: OptionDescription) -> str:
    facts = [f"type `{option.type}`", "required" if option.required else f"default {_default(option)}"]
    if option.bounds:
        facts.append(option.bounds)
    names = [f"Kafka's `{option.kafka}`"] if option.kafka else []
    names += [f"librdkafka's `{name}`" for name in option.librdkafka]
    if names:
        first = option.kafka or option.librdkafka[0]
        names.append(f"in the environment `KAFKA_{first.upper().replace('.', '_')}`")
    lines = [f"- {'; '.join(facts)}", f"- {', '.join(names) or 'by no name of another client'}"]
    return f"(option-{option.name})=\n### {option.name}\n\n{option.meaning}\n\n" + "\n".join(lines) + "\n"


def _default(option: OptionDescription) -> str:
    text = f"`{as_given(option.default)}`"
    if option.unit == "bytes" and option.default:
        mib = option.default / (1 << 20)
        text += f" ({mib:g} MiB)" if mib >= 1 else f" ({option.default / 1024:g} KiB)"
    return text


def presets() -> str:
    """What each preset sets, beside the defaults."""
    defaults = {option.name: option.default for option in ProducerConfig.describe()}
    names = dict.fromkeys(name for sets in PRESETS.values() for name in sets)
    return table(
        ["option", "default", *(f"`{preset}`" for preset in PRESETS)],
        (
            [
                f"[`{name}`](#option-{name})",
                f"`{as_given(defaults[name])}`",
                *(f"`{as_given(sets[name])}`" if name in sets else "" for sets in PRESETS.values()),
            ]
            for name in names
        ),
    )


def write(folder: Path) -> None:
    """Write every file into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "rules-by-code.md": coded_rules(),
        "rules-of-the-client.md": client_rules(),
        "rules-legend.md": legend(),
        "rules-sources.md": sources(),
        "other-codes.md": other_codes(),
        "options.md": options(),
        "presets.md": presets(),
    }
    for name, (title, steps, places) in LIVES.items():
        texts[f"life-of-a-{name}.svg"] = draw(title, steps, places)
        texts[f"life-of-a-{name}.md"] = states(steps)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "_build")
