"""Builds the compiled decoder so that libFuzzer sees its branches: `python tests/fuzz/atheris_build.py`, with GCC.

It is for a copy of the tree: the modules take the place of the real ones, and cannot be imported without libFuzzer.
"""

from __future__ import annotations

from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

SHIM = str(Path(__file__).with_name("trace_pc.c").relative_to(Path.cwd()))
FLAGS = ["-O1", "-g", "-fno-strict-aliasing", "-fsanitize-coverage=trace-pc,trace-cmp"]

if __name__ == "__main__":
    setup(
        script_args=["build_ext", "--inplace", "--force"],
        ext_modules=cythonize(
            [
                Extension(
                    f"krafka._speedups.{name}",
                    [f"krafka/_speedups/{name}.pyx", SHIM],
                    extra_compile_args=FLAGS,
                )
                for name in ("wire_decode", "wire_plan")
            ],
            compiler_directives={
                "language_level": "3",
                "boundscheck": False,
                "wraparound": False,
                "initializedcheck": False,
                "cdivision": True,
                "embedsignature": True,
                "binding": True,
            },
        ),
    )
