"""Sets krafka up in a virtual environment and runs its demo, its tests or its checks there.

    python3 tools/dev.py demo  [arguments of `krafka demo`]
    python3 tools/dev.py test  [arguments of pytest; without any, all tests in several processes]
    python3 tools/dev.py check [names of checks; all without one, --list shows them]
    python3 tools/dev.py setup

It needs Python 3.11 or later with `venv`, and a C compiler. The environment is `.venv` in the project, or the folder
given by --venv; krafka is installed there in editable mode: changed .py files count at once, changed Cython sources,
.py files with a .pxd beside them and dependencies make the next run install again, and any other run starts right
away. With CI set, a skipped test fails unless tools/pytest_ci/fail_on_skip.py allows it.
"""

# ruff: noqa: S603, S606 - it runs pip, the demo and the checks: commands of this file, and arguments of who calls it

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 11)
EXTRA_FOR = {"demo": "demo", "test": "dev", "check": "dev", "setup": "dev"}
CONTAINS = {"dev": {"dev", "demo"}, "demo": {"demo"}}
STAMP = "krafka-installed.json"
MOST_PROCESSES = 4
CHECKS_AT_A_TIME = 2


class SetupError(Exception):
    """What is missing on this machine, and how to get it."""


# -- the environment ----------------------------------------------------------------------------------------------


class Environment:
    """A virtual environment with krafka in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.bin / ("python.exe" if os.name == "nt" else "python")
        self.stamp = folder / STAMP

    def prepare(self, extra: str) -> None:
        """Make the environment and install krafka with `extra`, unless that is how things are."""
        wanted = _sources_digest()
        if self.python.exists() and self._is_current(wanted, extra) and self._works():
            return
        started = time.monotonic()
        self.stamp.unlink(missing_ok=True)
        if not self.python.exists():
            _say(f"making a virtual environment in {self.folder}")
            _make_venv(self.folder)
        _say(f"compiling and installing krafka[{extra}]; the first time this takes some minutes")
        target = f"{ROOT}[{extra}]"
        command = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if subprocess.run([*command, "--editable", target], stdin=subprocess.DEVNULL, check=False).returncode:
            raise SetupError(_pip_failed())
        if not self._works():
            raise SetupError(
                f"krafka was installed in {self.folder} but cannot be imported there (see above)"
            )
        self.stamp.write_text(json.dumps({"sources": wanted, "extra": extra}))
        _say(f"ready after {time.monotonic() - started:.0f} s")

    def _is_current(self, wanted: str, extra: str) -> bool:
        try:
            stamp = json.loads(self.stamp.read_text())
        except (OSError, ValueError):
            return False
        return stamp.get("sources") == wanted and extra in CONTAINS.get(stamp.get("extra"), ())

    def _works(self) -> bool:
        """Whether krafka can be imported: its compiled modules lie in the tree, where they may be cleaned away."""
        imported = subprocess.run(
            [str(self.python), "-c", "import krafka"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if imported.returncode and self.stamp.exists():
            _say("krafka is installed but cannot be imported: installing it again")
        elif imported.returncode:
            print(imported.stderr, file=sys.stderr, end="")
        return imported.returncode == 0

    def variables(self, **more: str) -> dict[str, str]:
        """This process's environment variables with the virtual environment activated."""
        path = os.environ.get("PATH", os.defpath)
        changed = {"VIRTUAL_ENV": str(self.folder), "PATH": f"{self.bin}{os.pathsep}{path}", **more}
        return {name: value for name, value in os.environ.items() if name != "PYTHONHOME"} | changed

    def become(self, command: list[str], **variables: str) -> int:
        """Run a command in this process's place where the system can do that, so that signals reach it alone."""
        sys.stdout.flush()
        sys.stderr.flush()
        os.chdir(ROOT)
        if os.name == "posix":
            os.execve(command[0], command, self.variables(**variables))
        return subprocess.call(command, env=self.variables(**variables))


def _make_venv(folder: Path) -> None:
    if folder.exists() and not (folder / "pyvenv.cfg").exists() and any(folder.iterdir()):
        raise SetupError(f"{folder} is no virtual environment and not empty; give another folder with --venv")
    try:
        # Nothing but a virtual environment without a working interpreter is ever cleared away here.
        venv.EnvBuilder(with_pip=True, symlinks=os.name != "nt", clear=folder.exists()).create(folder)
    except (ImportError, subprocess.CalledProcessError) as error:
        raise SetupError(
            f"Python could not make a virtual environment in {folder}: {error}\n"
            "On Debian and Ubuntu install it with: apt install python3-venv"
        ) from error


def _sources_digest() -> str:
    """What an installation depends on besides the .py files, which it uses in place unless a .pxd lies beside them."""
    files = [ROOT / "pyproject.toml", ROOT / "setup.py", ROOT / "krafka" / "_version.py"]
    files += sorted(
        path
        for path in (ROOT / "krafka").rglob("*")
        if path.suffix in {".pyx", ".pxd", ".h"}
        or (path.suffix == ".py" and path.with_suffix(".pxd").exists())
    )
    digest = hashlib.sha256(os.environ.get("KRAFKA_WERROR", "").encode())
    for path in files:
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _pip_failed() -> str:
    text = "krafka could not be installed; pip says why above."
    if os.name == "posix" and not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        text += "\nThere is no C compiler on the PATH; on Debian and Ubuntu: apt install gcc python3-dev"
    return text


# -- checks -------------------------------------------------------------------------------------------------------


class Check(NamedTuple):
    """One command that must exit with 0."""

    name: str
    command: tuple[str, ...]
    purpose: str


CHECKS = (
    Check("wheel", ("python", "tools/check_wheel.py"), "the wheel is complete and works on its own"),
    Check("lint", ("ruff", "check"), "ruff's rules"),
    Check("format", ("ruff", "format", "--check"), "ruff's formatting"),
    Check("cython", ("cython-lint", "krafka"), "rules for the Cython sources"),
    Check("imports", ("lint-imports",), "layers and forbidden imports (.importlinter)"),
    Check("mypy", ("mypy",), "types, strictly"),
    Check("pyright", ("pyright",), "types again, by another checker"),
    Check("public-types", ("python", "tools/check_public_types.py"), "every public name has a complete type"),
    Check("wire", ("python", "tools/generate_wire.py", "--check"), "generated messages are up to date"),
    Check(
        "docs",
        ("sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html"),
        "the documentation builds without a warning",
    ),
)
"""The one that takes longest comes first, as two are run at a time."""


def run_checks(environment: Environment, names: list[str]) -> int:
    """Run the named checks, or all; each is run whatever became of those before it."""
    if "--list" in names:
        for check in CHECKS:
            print(f"{check.name:13} {check.purpose}: {' '.join(check.command)}")
        return 0
    known = {check.name: check for check in CHECKS}
    for name in names:
        if name not in known:
            raise SetupError(f"there is no check {name!r}; there are {', '.join(known)}")
    chosen = [known[name] for name in names or known]
    failed: list[str] = []
    with ThreadPoolExecutor(CHECKS_AT_A_TIME) as pool:
        for check, finished in zip(chosen, pool.map(partial(_run_check, environment), chosen), strict=True):
            _say(f"{check.name}: {' '.join(check.command)}")
            print(finished.stdout, end="", flush=True)
            if finished.returncode:
                failed.append(check.name)
    _say(f"failed: {', '.join(failed)}" if failed else "every check passed")
    return 1 if failed else 0


def _run_check(environment: Environment, check: Check) -> subprocess.CompletedProcess[str]:
    """Run one check; what it says comes out together, as others run beside it."""
    return subprocess.run(
        [str(environment.bin / check.command[0]), *check.command[1:]],
        cwd=ROOT,
        env=environment.variables(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


# -- tests --------------------------------------------------------------------------------------------------------


def all_tests() -> list[str]:
    """The arguments with which pytest runs every test, in processes side by side.

    Whole files go to one process or another, as tests of a file share brokers. One process more than there are
    processors, up to a few: tests that break brokers wait most of their time, and each process starts a Kafka.
    """
    processes = min((os.cpu_count() or 1) + 1, MOST_PROCESSES)
    return ["-n", str(processes), "--dist", "loadfile", "--no-loadscope-reorder", "--durations", "15"]


# -- the command --------------------------------------------------------------------------------------------------


def _say(text: str) -> None:
    print(f"dev.py: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold off another dev.py that prepares the same environment, where the system can lock files."""
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    try:
        import fcntl  # noqa: PLC0415 - POSIX only
    except ImportError:
        yield
        return
    with open(Path(tempfile.gettempdir()) / f"krafka-dev-{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Prepare the environment and run what was asked for in it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="default: .venv in the project")
    parser.add_argument("command", choices=sorted(EXTRA_FOR))
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="passed on")
    chosen = parser.parse_args()
    environment = Environment(chosen.venv.expanduser().absolute())
    try:
        with _one_at_a_time(environment.folder):
            environment.prepare(EXTRA_FOR[chosen.command])
        if chosen.command == "check":
            return run_checks(environment, chosen.arguments)
    except SetupError as error:
        _say(str(error))
        return 1
    if chosen.command == "demo":
        return environment.become([str(environment.python), "-m", "krafka", "demo", *chosen.arguments])
    if chosen.command == "test":
        pytest = [str(environment.python), "-m", "pytest", *(chosen.arguments or all_tests())]
        if not os.environ.get("CI"):
            return environment.become(pytest)
        plugins = str(ROOT / "tools" / "pytest_ci")
        return environment.become([*pytest, "-p", "fail_on_skip"], PYTHONPATH=plugins)
    return 0


if __name__ == "__main__":
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(f"krafka needs Python 3.11 or later; this is {sys.version.split()[0]} ({sys.executable})")
    sys.exit(main())
