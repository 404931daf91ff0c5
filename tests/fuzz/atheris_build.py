"""Builds the compiled decoder so that libFuzzer sees its branches: `python tests/fuzz/atheris_build.py`, with GCC.

It is for a copy of the tree: the modules take the place of the real ones, and cannot be imported without libFuzzer.
"""

from __future__ import annotations

from distutils.core import run_setup  # that of setuptools, which takes the place of Python's
from pathlib import Path

MODULES = {"krafka._speedups.wire_decode", "krafka._speedups.wire_plan"}
SHIM = str(Path(__file__).with_name("trace_pc.c").relative_to(Path.cwd()))
FLAGS = ["-O1", "-g", "-fsanitize-coverage=trace-pc,trace-cmp"]

if __name__ == "__main__":
    build = run_setup("setup.py", ["build_ext", "--inplace", "--force"], stop_after="commandline")
    build.ext_modules = [module for module in build.ext_modules if module.name in MODULES]
    for module in build.ext_modules:
        module.sources.append(SHIM)
        module.extra_compile_args = [*module.extra_compile_args, *FLAGS]
    build.run_commands()
