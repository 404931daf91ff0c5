"""Writes krafka/_wire's message modules from the definitions that Kafka ships inside kafka-clients.jar.

    python tools/generate_wire.py            rewrite the modules
    python tools/generate_wire.py --check    write nothing; exit 1 if a module is not up to date

The jar comes from Maven Central through jgo (an optional dependency: `pip install krafka[testing]`) or, with
--jar, from a file. To follow a new Kafka, raise KAFKA_VERSION, run this, and read the difference.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KAFKA_VERSION = "4.3.1"
TARGET = Path(__file__).resolve().parent.parent / "krafka" / "_wire"
WIDTH = 110


@dataclass(frozen=True)
class Selection:
    """An API to generate. `newest` caps the classes, `client_newest` only what this client offers."""

    name: str
    newest: int | None = None
    client_newest: int | None = None


SELECTIONS = (
    Selection("Produce"),
    Selection("ListOffsets"),
    Selection("Metadata"),
    Selection("FindCoordinator"),
    Selection("SaslHandshake"),
    Selection("ApiVersions"),
    Selection("CreateTopics"),
    Selection("InitProducerId", newest=5),  # 6 is marked unstable: brokers refuse it by default (KIP-939)
    Selection("AddPartitionsToTxn", client_newest=3),  # 4 and 5 are spoken between brokers (KIP-890)
    Selection("AddOffsetsToTxn"),
    Selection("EndTxn"),
    Selection("TxnOffsetCommit"),
    Selection("DescribeTransactions"),
    Selection("SaslAuthenticate"),
    Selection("GetTelemetrySubscriptions"),
    Selection("PushTelemetry"),
)

PYTHON_TYPES = {
    "bool": "bool",
    "int8": "int",
    "int16": "int",
    "uint16": "int",
    "int32": "int",
    "uint32": "int",
    "int64": "int",
    "float64": "float",
    "uuid": "Uuid",
    "string": "str",
    "bytes": "bytes",
    "records": "Records",
}
PYTHON_DEFAULTS = {
    "bool": "False",
    "float64": "0.0",
    "uuid": "NO_UUID",
    "string": '""',
    "bytes": 'b""',
    "records": "None",
}

Versions = tuple[int, int]


class GenerationError(Exception):
    """The definitions hold something this tool does not know how to write."""


@dataclass
class StructText:
    """One class on its way to text."""

    name: str
    base: str
    doc: str
    constants: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)
    schema: list[str] = field(default_factory=list)


@dataclass
class Definition:
    """One message of Kafka's: its JSON and the versions that are kept."""

    json: dict[str, Any]
    versions: Versions
    structs: list[StructText] = field(default_factory=list)
    common: dict[str, dict[str, Any]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.json["name"])


def words(name: str) -> list[str]:
    """CamelCase taken apart: "TopicProduceData" gives Topic, Produce, Data."""
    return re.findall(r"[A-Z][a-z0-9]*|[a-z0-9]+", name)


def snake_case(name: str) -> str:
    return "_".join(words(name)).lower()


def parse_versions(text: str, within: Versions) -> Versions | None:
    """Kafka's "3+", "0-12", "4" or "none", cut to the versions that are kept."""
    if text == "none":
        return None
    first, dash, last = text.rstrip("+").partition("-")
    newest = within[1] if text.endswith("+") else int(last) if dash else int(first)
    low, high = max(int(first), within[0]), min(newest, within[1])
    return (low, high) if low <= high else None


def struct_name(message: str, struct: str) -> str:
    """The message's name and the struct's, less the words they share: no two messages' structs can clash."""
    kept = [word for word in words(struct) if word not in words(message)]
    return message + ("".join(kept) or struct)


def default_text(kind: str, entry: dict[str, Any], *, array: bool, struct: str | None) -> str:
    """The right-hand side of the attribute: Kafka's default, spelled in Python."""
    given = entry.get("default")
    if given == "null":
        return "None"
    if array:
        return "field(default_factory=list)"
    if struct:
        return f"field(default_factory={struct})"
    if given is None:
        return PYTHON_DEFAULTS.get(kind, "0")
    if kind == "bool":
        return str(str(given).lower() == "true")
    if kind == "string":
        return json.dumps(given)
    if kind == "float64":
        return repr(float(given))
    if kind.startswith(("int", "uint")):
        return str(int(str(given), 0))
    raise GenerationError(f"no rule for a {kind} with the default {given!r}")


def call_text(indent: int, name: str, arguments: list[str]) -> str:
    """`name(arguments)` and a comma, the way the formatter lays it out."""
    pad, inner = " " * indent, " " * (indent + 4)
    joined = ", ".join(arguments)
    if len(f"{pad}{name}({joined}),") <= WIDTH:
        return f"{pad}{name}({joined}),"
    if len(f"{inner}{joined}") <= WIDTH:
        return f"{pad}{name}(\n{inner}{joined}\n{pad}),"
    rows = "\n".join(f"{inner}{argument}," for argument in arguments)
    return f"{pad}{name}(\n{rows}\n{pad}),"


def attribute_line(name: str, annotation: str, default: str) -> str:
    line = f"    {name}: {annotation} = {default}"
    if len(line) <= WIDTH:
        return line
    head, _, argument = default.partition("(")
    return f"    {name}: {annotation} = {head}(\n        {argument[:-1]}\n    )"


def add_field(definition: Definition, text: StructText, entry: dict[str, Any]) -> None:
    versions = parse_versions(entry["versions"], definition.versions)
    if versions is None:
        return
    kind = entry["type"]
    array = kind.startswith("[]")
    kind = kind.removeprefix("[]")
    struct = None
    if kind not in PYTHON_TYPES:
        struct = add_struct(definition, kind, entry)
    nullable = parse_versions(entry.get("nullableVersions", "none"), versions)
    tagged = parse_versions(entry.get("taggedVersions", "none"), versions)
    if tagged and nullable and struct and not array:
        raise GenerationError(f"{definition.name}.{entry['name']}: a tagged struct that may be null")
    if entry.get("flexibleVersions"):
        raise GenerationError(f"{definition.name}.{entry['name']}: its own flexibleVersions")
    name = snake_case(entry["name"])
    default = default_text(kind, entry, array=array, struct=struct)
    annotation = struct or PYTHON_TYPES[kind]
    annotation = f"list[{annotation}]" if array else annotation
    if nullable or default == "None":
        annotation += " | None"
    text.attributes.append(attribute_line(name, annotation, default))
    arguments = [f'"{name}"', struct or f'"{kind}"', str(versions)]
    arguments += ["array=True"] if array else []
    arguments += [f"nullable={nullable}"] if nullable else []
    arguments += [f"tagged={tagged}", f"tag={entry['tag']}"] if tagged else []
    arguments += ["ignorable=True"] if entry.get("ignorable") in (True, "true") else []
    text.schema.append(call_text(8, "Field", arguments))


def add_struct(definition: Definition, kind: str, entry: dict[str, Any]) -> str:
    """Defines the struct `kind`, once, ahead of whatever uses it."""
    if kind in definition.names:
        if "fields" in entry:
            raise GenerationError(f"{definition.name} defines {kind} twice")
        return definition.names[kind]
    fields = entry["fields"] if "fields" in entry else definition.common[kind]["fields"]
    name = definition.names[kind] = struct_name(definition.name, kind)
    if list(definition.names.values()).count(name) > 1:
        raise GenerationError(f"{definition.name} has two structs that would be called {name}")
    text = StructText(name, "Struct", f"Kafka's {kind}, a part of {definition.name}.")
    for nested in fields:
        add_field(definition, text, nested)
    definition.structs.append(text)
    return name


def add_message(definition: Definition, response: str | None) -> None:
    source = definition.json
    first, last = definition.versions
    flexible = parse_versions(source["flexibleVersions"], definition.versions)
    base = f"Request[{response}]" if response else "Response"
    text = StructText(definition.name, base, f"{definition.name}, versions {first} to {last}.")
    text.constants = [
        f"API_KEY: ClassVar[int] = {source['apiKey']}",
        f"MIN_VERSION: ClassVar[int] = {first}",
        f"MAX_VERSION: ClassVar[int] = {last}",
        f"FLEXIBLE_FROM: ClassVar[int | None] = {flexible[0] if flexible else None}",
    ]
    if response:
        text.constants.append(f"RESPONSE: ClassVar[type[Response]] = {response}")
    definition.common = {struct["name"]: struct for struct in source.get("commonStructs", ())}
    for entry in source["fields"]:
        add_field(definition, text, entry)
    definition.structs.append(text)


def class_text(text: StructText) -> str:
    schema = ["    SCHEMA: ClassVar[tuple[Field, ...]] = ()"]
    if len(text.schema) == 1 and "\n" not in text.schema[0]:
        schema = [f"    SCHEMA: ClassVar[tuple[Field, ...]] = ({text.schema[0].strip()})"]
    elif text.schema:
        schema = ["    SCHEMA: ClassVar[tuple[Field, ...]] = (", *text.schema, "    )"]
    lines = [
        "@dataclass(slots=True, kw_only=True, eq=False, repr=False)",
        f"class {text.name}({text.base}):",
        f'    """{text.doc}"""',
        "",
        *(f"    {constant}" for constant in text.constants),
        *([""] if text.constants and text.attributes else []),
        *text.attributes,
        "",
        *schema,
    ]
    return "\n".join(lines)


def file_head(doc: str, kafka_version: str) -> str:
    return (
        f'"""{doc}\n\n'
        "Generated by `python tools/generate_wire.py` from the message definitions of Apache Kafka"
        f' {kafka_version}; do not edit.\n"""\n\n'
        "from __future__ import annotations\n"
    )


def load(jar: zipfile.ZipFile, name: str) -> dict[str, Any]:
    text = jar.read(f"common/message/{name}.json").decode()
    loaded: dict[str, Any] = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    return loaded


def kept_versions(source: dict[str, Any], newest: int | None) -> Versions:
    versions = parse_versions(source["validVersions"], (0, 32767 if newest is None else newest))
    if versions is None:
        raise GenerationError(f"{source['name']} has no version up to {newest}")
    if source.get("latestVersionUnstable") and newest is None:
        raise GenerationError(f"{source['name']}'s latest version is unstable: cap it in SELECTIONS")
    return versions


def module_text(jar: zipfile.ZipFile, selection: Selection, kafka_version: str) -> tuple[str, Versions, int]:
    """The module of one API, the versions the client offers, and the API's key."""
    request_json = load(jar, f"{selection.name}Request")
    versions = kept_versions(request_json, selection.newest)
    response = Definition(load(jar, f"{selection.name}Response"), versions)
    request = Definition(request_json, versions)
    add_message(response, None)
    add_message(request, response.name)
    classes = [*response.structs, *request.structs]
    body = "\n\n\n".join(class_text(text) for text in classes)
    schema_names = ["Field", "Request", "Response"]
    schema_names += [
        name for name in ("NO_UUID", "Records", "Struct", "Uuid") if re.search(rf"\b{name}\b", body)
    ]
    dataclass_names = "dataclass, field" if "field(" in body else "dataclass"
    exported = "".join(f'    "{name}",\n' for name in sorted(text.name for text in classes))
    text = (
        file_head(f"Kafka's {selection.name} API: its request and its response.", kafka_version)
        + f"\nfrom dataclasses import {dataclass_names}\nfrom typing import ClassVar\n"
        + f"\nfrom .schema import {', '.join(sorted(schema_names, key=import_order))}\n"
        + f"\n__all__ = [\n{exported}]\n\n\n"
        + body
        + "\n"
    )
    newest = versions[1] if selection.client_newest is None else selection.client_newest
    return text, (versions[0], newest), request_json["apiKey"]


def import_order(name: str) -> tuple[bool, str]:
    """Constants before classes, as the import sorter has it."""
    return (not name.isupper(), name)


def catalogue_text(rows: list[tuple[str, Versions, int]], kafka_version: str) -> str:
    entries = "\n".join(
        call_text(4, "Api", [str(key), f'"{name}"', f'"{snake_case(name)}"', *map(str, versions)])
        for name, versions, key in sorted(rows, key=lambda row: row[2])
    )
    return (
        file_head("Every API this client knows, by key.", kafka_version)
        + "\nfrom .schema import Api\n"
        + '\n__all__ = ["APIS"]\n\n'
        + f"APIS: tuple[Api, ...] = (\n{entries}\n)\n"
    )


def generate(jar_path: Path, kafka_version: str) -> dict[str, str]:
    """File name to content, for every file this tool owns."""
    files: dict[str, str] = {}
    rows: list[tuple[str, Versions, int]] = []
    with zipfile.ZipFile(jar_path) as jar:
        for selection in SELECTIONS:
            text, versions, key = module_text(jar, selection, kafka_version)
            files[f"{snake_case(selection.name)}.py"] = text
            rows.append((selection.name, versions, key))
    files["catalogue.py"] = catalogue_text(rows, kafka_version)
    return files


def resolve_jar(kafka_version: str) -> Path:
    import jgo  # noqa: PLC0415 -- --jar works without it

    environment = jgo.build(f"org.apache.kafka:kafka-clients:{kafka_version}")
    for folder in (environment.jars_dir, environment.modules_dir):
        jar = Path(folder) / f"kafka-clients-{kafka_version}.jar"
        if jar.exists():
            return jar
    raise GenerationError(f"kafka-clients-{kafka_version}.jar is not among what jgo resolved")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--jar", type=Path, help="a kafka-clients jar, instead of one from Maven Central")
    parser.add_argument("--kafka-version", default=KAFKA_VERSION, help="default: %(default)s")
    options = parser.parse_args(arguments)
    files = generate(options.jar or resolve_jar(options.kafka_version), options.kafka_version)
    stale = [
        name
        for name, text in files.items()
        if not (TARGET / name).exists() or (TARGET / name).read_text(encoding="utf-8") != text
    ]
    for name in stale:
        print(f"{TARGET / name} {'differs' if options.check else 'written'}")
        if not options.check:
            (TARGET / name).write_text(files[name], encoding="utf-8", newline="\n")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
