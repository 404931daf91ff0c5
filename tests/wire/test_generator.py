"""The generator's rules, on definitions made up for the purpose; and the checked-in modules against Kafka's jar."""

from __future__ import annotations

import importlib.util
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TOOL = ROOT / "tools" / "generate_wire.py"


def load_tool() -> Any:
    spec = importlib.util.spec_from_file_location("generate_wire", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate_wire"] = module
    spec.loader.exec_module(module)
    return module


generate_wire = load_tool()

RESPONSE = {
    "apiKey": 9,
    "name": "FooResponse",
    "validVersions": "1-3",
    "flexibleVersions": "2+",
    "fields": [],
}


def request_with(*fields: dict[str, Any], **extra: Any) -> dict[str, Any]:
    return {**RESPONSE, "name": "FooRequest", "fields": list(fields), **extra}


def generated(tmp_path: Path, request: dict[str, Any], selection: Any = None) -> str:
    jar = tmp_path / "clients.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("common/message/FooRequest.json", "// a comment\n" + json.dumps(request, indent=1))
        archive.writestr("common/message/FooResponse.json", json.dumps(RESPONSE))
    with zipfile.ZipFile(jar) as archive:
        text, _, _ = generate_wire.module_text(archive, selection or generate_wire.Selection("Foo"), "0")
    return str(text)


@pytest.mark.parametrize(
    ("text", "within", "parsed"),
    [
        ("0+", (0, 9), (0, 9)),
        ("3+", (0, 9), (3, 9)),
        ("0-12", (3, 9), (3, 9)),
        ("4", (0, 9), (4, 4)),
        ("0-2", (3, 9), None),
        ("10+", (0, 9), None),
        ("none", (0, 9), None),
    ],
)
def test_versions(text: str, within: tuple[int, int], parsed: tuple[int, int] | None) -> None:
    assert generate_wire.parse_versions(text, within) == parsed


def test_names() -> None:
    assert generate_wire.snake_case("V3AndBelowTransactionalId") == "v3_and_below_transactional_id"
    assert generate_wire.snake_case("timeoutMs") == "timeout_ms"
    assert (
        generate_wire.struct_name("ProduceResponse", "PartitionProduceResponse") == "ProduceResponsePartition"
    )
    assert generate_wire.struct_name("FindCoordinatorResponse", "Coordinator").endswith("ResponseCoordinator")


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ({"type": "int32"}, "the_field: int = 0"),
        ({"type": "int64", "default": "-1"}, "the_field: int = -1"),
        ({"type": "int16", "default": -1}, "the_field: int = -1"),
        ({"type": "int32", "default": "0x10"}, "the_field: int = 16"),
        ({"type": "bool", "default": "true"}, "the_field: bool = True"),
        ({"type": "bool", "default": False}, "the_field: bool = False"),
        ({"type": "float64", "default": "0.5"}, "the_field: float = 0.5"),
        ({"type": "string"}, 'the_field: str = ""'),
        ({"type": "string", "default": "x"}, 'the_field: str = "x"'),
        ({"type": "string", "nullableVersions": "2+"}, 'the_field: str | None = ""'),
        ({"type": "string", "nullableVersions": "0+", "default": "null"}, "the_field: str | None = None"),
        ({"type": "uuid"}, "the_field: Uuid = NO_UUID"),
        ({"type": "bytes"}, 'the_field: bytes = b""'),
        ({"type": "records"}, "the_field: Records | None = None"),
        ({"type": "[]int32"}, "the_field: list[int] = field(default_factory=list)"),
    ],
)
def test_attributes(tmp_path: Path, entry: dict[str, Any], line: str) -> None:
    text = generated(tmp_path, request_with({"name": "TheField", "versions": "0+", **entry}))
    assert f"    {line}\n" in text


def test_structs_tags_and_versions(tmp_path: Path) -> None:
    number = {"name": "Number", "type": "int8", "versions": "2+", "ignorable": True}
    inner = {"name": "Inner", "type": "[]FooBar", "versions": "0+", "fields": [number]}
    tagged = {"name": "Tagged", "type": "int8", "versions": "2+", "taggedVersions": "2+", "tag": 4}
    gone = {"name": "Gone", "type": "int8", "versions": "0"}
    text = generated(tmp_path, request_with(inner, tagged, gone))
    assert 'Field("number", "int8", (2, 3), ignorable=True)' in text
    assert 'Field("inner", FooRequestBar, (1, 3), array=True)' in text
    assert 'Field("tagged", "int8", (2, 3), tagged=(2, 3), tag=4)' in text
    assert "gone" not in text
    namespace: dict[str, Any] = {"__name__": "krafka._wire.foo", "__package__": "krafka._wire"}
    sys.modules["krafka._wire.foo"] = sys  # dataclasses look the module up by name
    try:
        exec(text, namespace)
    finally:
        del sys.modules["krafka._wire.foo"]
    assert namespace["FooRequest"](inner=[namespace["FooRequestBar"](number=3)]).inner[0].number == 3


@pytest.mark.parametrize(
    ("request_json", "text"),
    [
        (request_with(latestVersionUnstable=True), "latest version is unstable"),
        (
            request_with({"name": "A", "type": "bytes", "versions": "0+", "default": "x"}),
            "no rule for a bytes",
        ),
        (
            request_with({"name": "A", "type": "string", "versions": "0+", "flexibleVersions": "none"}),
            "its own flexibleVersions",
        ),
        (
            request_with(
                {
                    "name": "A",
                    "type": "B",
                    "versions": "2+",
                    "nullableVersions": "2+",
                    "taggedVersions": "2+",
                    "tag": 0,
                    "fields": [],
                }
            ),
            "a tagged struct that may be null",
        ),
        (
            request_with(
                {"name": "A", "type": "FooX", "versions": "0+", "fields": []},
                {"name": "B", "type": "RequestX", "versions": "0+", "fields": []},
            ),
            "two structs that would be called FooRequestX",
        ),
    ],
)
def test_what_it_cannot_write_is_an_error(tmp_path: Path, request_json: dict[str, Any], text: str) -> None:
    with pytest.raises(generate_wire.GenerationError, match=text):
        generated(tmp_path, request_json)


@pytest.mark.kafka
def test_the_modules_are_what_the_generator_writes(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate_wire.main(["--check"]) == 0, capsys.readouterr().out


@pytest.mark.kafka
def test_check_reports_a_module_that_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jar = generate_wire.resolve_jar(generate_wire.KAFKA_VERSION)
    monkeypatch.setattr(generate_wire, "TARGET", tmp_path)
    assert generate_wire.main(["--jar", str(jar)]) == 0
    assert generate_wire.main(["--jar", str(jar), "--check"]) == 0
    (tmp_path / "produce.py").write_text("x")
    capsys.readouterr()
    assert generate_wire.main(["--jar", str(jar), "--check"]) == 1
    assert capsys.readouterr().out == f"{tmp_path / 'produce.py'} differs\n"
