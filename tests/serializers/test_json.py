"""JSON: the same bytes by each library for plain data, and what is no JSON refused by name."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from krafka.errors import ConfigError, SerializationError
from krafka.serializers import JSONSerializer

LIBRARIES = ["msgspec", "orjson", "json"]
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=5)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(TEXT, inner)
        ),
        max_leaves=20,
    )


WHOLE = st.integers(-(2**63), 2**64 - 1)
SAME = trees(st.none() | st.booleans() | WHOLE | TEXT)
WITH_FLOATS = trees(
    st.none() | st.booleans() | WHOLE | TEXT | st.floats(allow_nan=False, allow_infinity=False)
)


def lists(value: Any) -> Any:
    """The value as JSON gives it back."""
    if isinstance(value, list | tuple):
        return [lists(each) for each in value]
    return {key: lists(each) for key, each in value.items()} if isinstance(value, dict) else value


@pytest.mark.parametrize("sort_keys", [False, True])
@settings(deadline=None)
@given(SAME.filter(lambda value: value is not None))
def test_every_library_makes_the_same_bytes(sort_keys: bool, value: Any) -> None:
    made = {name: JSONSerializer(library=name, sort_keys=sort_keys)("t", value) for name in LIBRARIES}
    assert len(set(made.values())) == 1, made
    (one,) = set(made.values())
    assert one is not None
    assert json.loads(one) == lists(value)


@pytest.mark.parametrize("library", LIBRARIES)
@settings(deadline=None)
@given(WITH_FLOATS.filter(lambda value: value is not None))
def test_numbers_come_back_exactly(library: str, value: Any) -> None:
    made = JSONSerializer(library=library)("t", value)
    assert made is not None
    assert json.loads(made) == lists(value)


@pytest.mark.parametrize("library", LIBRARIES)
def test_it_is_compact_and_not_escaped(library: str) -> None:
    value = {"b": ["caf\u00e9", 1, None, True], "a": '\u2028\x7f\x01"\\/'}
    made = JSONSerializer(library=library)("t", value)
    assert made == '{"b":["caf\u00e9",1,null,true],"a":"\u2028\x7f\\u0001\\"\\\\/"}'.encode()
    assert (JSONSerializer(library=library, sort_keys=True)("t", value) or b"").startswith(b'{"a":')


@pytest.mark.parametrize("library", LIBRARIES)
def test_none_is_a_tombstone_not_null(library: str) -> None:
    assert JSONSerializer(library=library)("t", None) is None


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_is_no_json_is_refused_by_name(library: str) -> None:
    circle: list[Any] = []
    circle.append(circle)
    for value in (object(), {"a": 1j}, circle, "\ud800"):
        with pytest.raises(SerializationError) as caught:
            JSONSerializer(library=library)("orders", value)
        assert "value for topic 'orders' cannot be JSON" in str(caught.value)
        assert f"({library})" in str(caught.value)
        assert caught.value.__cause__ is not None


@pytest.mark.parametrize("library", LIBRARIES)
def test_default_is_asked_for_other_types(library: str) -> None:
    def real_and_imaginary(value: object) -> list[float]:
        if isinstance(value, complex):
            return [value.real, value.imag]
        raise TypeError("neither")

    serializer = JSONSerializer(library=library, default=real_and_imaginary)
    assert serializer("t", {"z": 1 + 2.5j}) == b'{"z":[1.0,2.5]}'
    with pytest.raises(SerializationError, match="cannot be JSON"):
        serializer("t", object())


def test_what_differs_is_what_the_documentation_says() -> None:
    made = {name: JSONSerializer(library=name) for name in LIBRARIES}
    assert [made[name]("t", 1e16) for name in ("msgspec", "json")] == [b"1e16", b"1e+16"]
    assert made["orjson"]("t", 1e16) in {b"1e16", b"1e+16"}
    assert [made[name]("t", 1e-7) for name in LIBRARIES] == [b"1e-7", b"1e-7", b"1e-07"]
    assert [made[name]("t", [float("nan")]) for name in LIBRARIES[:2]] == [b"[null]"] * 2
    with pytest.raises(SerializationError, match="Out of range float"):
        made["json"]("t", [float("nan")])
    assert [made[name]("t", 2**64) for name in ("msgspec", "json")] == [b"18446744073709551616"] * 2
    with pytest.raises(SerializationError, match="64-bit"):
        made["orjson"]("t", 2**64)
    assert [made[name]("t", {1: 2}) for name in ("msgspec", "json")] == [b'{"1":2}'] * 2
    with pytest.raises(SerializationError, match="key must be str"):
        made["orjson"]("t", {1: 2})


@pytest.mark.parametrize(
    ("hidden", "chosen"), [((), "msgspec"), (("msgspec",), "orjson"), (("msgspec", "orjson"), "json")]
)
def test_the_first_library_that_is_installed_is_taken(hidden: tuple[str, ...], chosen: str) -> None:
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({hidden!r}))\n"
        "from krafka.serializers import JSONSerializer\n"
        "print(JSONSerializer().library)"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert printed.stdout == f"{chosen}\n"


def test_a_library_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "orjson", None)
    with pytest.raises(ConfigError, match=r"library 'orjson' cannot be imported: pip install orjson"):
        JSONSerializer(library="orjson")
    with pytest.raises(
        ConfigError, match="library must be 'msgspec', 'orjson', 'json' or None, got 'simplejson'"
    ):
        JSONSerializer(library="simplejson")
