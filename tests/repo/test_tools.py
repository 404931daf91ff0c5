"""What developers run: the set-up notices what changed, skips fail in CI, and the checks can say no."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from .sources import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType


def load(name: str) -> ModuleType:
    """A tool as a module; tools are run as files and belong to no package."""
    path = ROOT / "tools" / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def dev() -> ModuleType:
    return load("dev.py")


# -- dev.py -------------------------------------------------------------------------------------------------------


def test_the_stamp_knows_what_is_installed(dev: ModuleType, tmp_path: Path) -> None:
    environment = dev.Environment(tmp_path)
    assert not environment._is_current("abc", "demo")
    environment.stamp.write_text(json.dumps({"sources": "abc", "extra": "demo"}))
    assert environment._is_current("abc", "demo")
    assert not environment._is_current("abc", "dev")
    assert not environment._is_current("other", "demo")
    environment.stamp.write_text(json.dumps({"sources": "abc", "extra": "dev"}))
    assert environment._is_current("abc", "demo")
    environment.stamp.write_text("half a sta")
    assert not environment._is_current("abc", "demo")


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("pyproject.toml", True),
        ("setup.py", True),
        ("krafka/_speedups/fast.pyx", True),
        ("krafka/_speedups/fast.pxd", True),
        ("krafka/_speedups/fast.c", False),
        ("krafka/_state/typed.pxd", True),
        ("krafka/_state/typed.py", True),
        ("krafka/producer.py", False),
    ],
)
def test_what_calls_for_a_new_installation(
    dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, counts: bool
) -> None:
    for room in ("_speedups", "_state"):
        (tmp_path / "krafka" / room).mkdir(parents=True)
    for file in ("pyproject.toml", "setup.py", "krafka/_version.py", "krafka/_state/typed.pxd", name):
        (tmp_path / file).write_text("before")
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    before = dev._sources_digest()
    assert dev._sources_digest() == before
    (tmp_path / name).write_text("after")
    assert (dev._sources_digest() != before) is counts


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    finished = run_tool("dev.py", "--venv", str(tmp_path), "setup")
    assert finished.returncode == 1
    assert "is no virtual environment and not empty" in finished.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.fixture
def became(dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What dev.py would have become: its command, then its environment's additions."""
    calls: list[Any] = []

    def become(_self: object, command: list[str], **variables: str) -> int:
        calls.extend([command[1:], variables])
        return 0

    monkeypatch.setattr(dev.Environment, "prepare", lambda _self, extra: calls.append(extra))
    monkeypatch.setattr(dev.Environment, "become", become)
    return calls


def test_options_after_the_command_are_passed_on(
    dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, became: list[Any]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(sys, "argv", ["dev.py", "--venv", str(tmp_path), "test", "--venv", "-k", "x y"])
    assert dev.main() == 0
    assert became == ["dev", ["-m", "pytest", "--venv", "-k", "x y"], {}]


def test_ci_loads_the_plugin(
    dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, became: list[Any]
) -> None:
    monkeypatch.setenv("CI", "1")
    monkeypatch.setattr(sys, "argv", ["dev.py", "--venv", str(tmp_path), "test", "tests/values"])
    assert dev.main() == 0
    plugins = str(ROOT / "tools" / "pytest_ci")
    assert became == ["dev", ["-m", "pytest", "tests/values", "-p", "fail_on_skip"], {"PYTHONPATH": plugins}]


def test_without_arguments_all_tests_run_side_by_side(
    dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, became: list[Any]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(sys, "argv", ["dev.py", "--venv", str(tmp_path), "test"])
    assert dev.main() == 0
    assert became[1][:6] == ["-m", "pytest", "-n", "3", "--dist", "loadfile"]


def test_one_failed_check_fails_all_and_stops_none(
    dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    environment = dev.Environment(tmp_path)
    environment.bin = tmp_path
    for name, code in (("good", 0), ("bad", 3)):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name} ran\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
    checks = [dev.Check("first", ("bad",), ""), dev.Check("second", ("good",), "")]
    monkeypatch.setattr(dev, "CHECKS", checks)
    assert dev.run_checks(environment, []) == 1
    printed = capfd.readouterr()
    assert "bad ran" in printed.out
    assert "good ran" in printed.out
    assert "failed: first" in printed.err
    assert dev.run_checks(environment, ["second"]) == 0
    with pytest.raises(dev.SetupError, match="there is no check 'third'; there are first, second"):
        dev.run_checks(environment, ["third"])


def run_tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / name), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


# -- fail_on_skip.py ----------------------------------------------------------------------------------------------

SKIPS = {
    "a mark": "@pytest.mark.skip(reason='no time')\ndef test_it(): pass",
    "a call": "def test_it(): pytest.skip('no time')",
    "a module": "pytest.importorskip('no_such_package')\ndef test_it(): pass",
    "an expected failure": "@pytest.mark.xfail(reason='no time')\ndef test_it(): assert 0",
    "a reason that is not true": "def test_it(): pytest.skip('the moon is full')",
}
CONFTEST = """
import fail_on_skip
fail_on_skip.ALLOWED = (
    fail_on_skip.Allowed("the sun is up", lambda: True, "it is day"),
    fail_on_skip.Allowed("the moon is full", lambda: False, "it is night"),
)
"""


def run_with_plugin(folder: Path, test: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(f"import pytest\n{test}\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "fail_on_skip", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT / "tools" / "pytest_ci"), str(ROOT)]),
            # They take most of the time of a start.
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


SIDE_BY_SIDE = ("-p", "xdist", "-n", "1")
"""The tests in a process of their own, and their reports sent to another."""


@pytest.mark.parametrize(
    ("test", "arguments"),
    [
        *(pytest.param(test, (), id=name) for name, test in SKIPS.items()),
        *(
            pytest.param(SKIPS[name], SIDE_BY_SIDE, id=f"{name}, elsewhere")
            for name in ("a call", "a module")
        ),
    ],
)
def test_a_skip_fails(tmp_path: Path, test: str, arguments: tuple[str, ...]) -> None:
    finished = run_with_plugin(tmp_path, test, *arguments)
    assert finished.returncode in {1, 2}, finished.stdout
    assert "skipped for a reason that" in finished.stdout
    assert "1 skipped" not in finished.stdout


@pytest.mark.parametrize("arguments", [(), SIDE_BY_SIDE], ids=["here", "elsewhere"])
def test_a_skip_that_is_allowed_is_printed(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    finished = run_with_plugin(tmp_path, "def test_it(): pytest.skip('the sun is up')", *arguments)
    assert finished.returncode == 0, finished.stdout
    assert "'the moon is full': it is night (not true here)" in finished.stdout
    assert "allowed 1: the sun is up (it is day)" in finished.stdout


def test_a_run_without_skips_passes(tmp_path: Path) -> None:
    finished = run_with_plugin(tmp_path, "def test_it(): pass")
    assert finished.returncode == 0, finished.stdout
    assert "nothing was skipped" in finished.stdout


# -- the other checks ---------------------------------------------------------------------------------------------


def test_a_wheel_is_judged_by_its_files() -> None:
    judge: Callable[[set[str]], list[str]] = load("check_wheel.py").faults
    files, compiled = load("check_wheel.py").expected_files()
    whole = {*files, *(f"{start}cpython-311.so" for start in compiled), "krafka-1.dist-info/licenses/LICENSE"}
    assert judge(whole) == []
    assert judge(whole - {"krafka/py.typed"}) == ["missing: krafka/py.typed"]
    assert judge(whole - {"krafka/_speedups/append.cpython-311.so"}) == [
        "missing: the compiled module krafka/_speedups/append"
    ]
    assert judge({*whole, "krafka/_speedups/append.c"}) == [
        "does not belong there: krafka/_speedups/append.c"
    ]
    assert judge({name for name in whole if "LICENSE" not in name}) == ["missing: the licence"]


def test_an_unknown_type_of_a_public_name_is_a_fault() -> None:
    def symbol(name: str, known: bool, exported: bool = True) -> dict[str, Any]:
        messages = [] if known else [{"message": "Type is\nunknown"}]
        return {"name": name, "isExported": exported, "isTypeKnown": known, "diagnostics": messages}

    symbols = [
        symbol("krafka.Producer.send", known=False),
        symbol("krafka.Producer.flush", known=True),
        symbol("krafka.cli.app.run", known=False),
        symbol("krafka._io.engine.Engine", known=False, exported=False),
    ]
    report = {"generalDiagnostics": [], "typeCompleteness": {"symbols": symbols}}
    assert load("check_public_types.py").incomplete(report) == ["krafka.Producer.send: Type is unknown"]


def test_the_ci_script_can_be_run() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert re.search(r"^set -euo pipefail$", script.read_text(), re.MULTILINE)
    subprocess.run(["bash", "-n", str(script)], check=True)
