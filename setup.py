"""Builds the compiled modules of krafka/_speedups; everything else is in pyproject.toml.

KRAFKA_WERROR=1 turns every Cython and C compiler warning into an error (CI sets it, a user's install does not).
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from Cython.Compiler import Options
from setuptools import Extension, setup

STRICT = os.environ.get("KRAFKA_WERROR") == "1"
SPEEDUPS = Path("krafka/_speedups")

Options.warning_errors = STRICT

c_flags = [] if os.name == "nt" else ["-O3", "-fno-strict-aliasing", "-Wno-unused-function"]
if STRICT and os.name != "nt":
    c_flags += ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-missing-field-initializers", "-Werror"]

extensions = [
    Extension(f"krafka._speedups.{source.stem}", [str(source)], extra_compile_args=c_flags)
    for source in sorted(SPEEDUPS.glob("*.pyx"))
]

setup(
    ext_modules=cythonize(
        extensions,
        compiler_directives={
            "language_level": "3",
            "boundscheck": False,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
            "embedsignature": True,
            "binding": True,
        },
    )
)
