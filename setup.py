"""Builds the compiled modules; everything else is in pyproject.toml.

Two kinds: those of krafka/_speedups, written in Cython, and those Python modules that have a `.pxd` beside them. Such a
file declares the C types of what its module defines; the module itself stays Python, and means the same compiled.

KRAFKA_WERROR=1 turns every Cython and C compiler warning into an error (CI sets it, a user's install does not).
"""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from Cython.Compiler import Options
from setuptools import Extension, setup

STRICT = os.environ.get("KRAFKA_WERROR") == "1"
SPEEDUPS = Path("krafka/_speedups")
MOST_COMPILERS = 4
TYPED_PYTHON = ("krafka/_state", "krafka/_io")

Options.warning_errors = STRICT

# Less code than -O3 makes, with which Python itself may have been compiled, and nothing is slower by it.
c_flags = [] if os.name == "nt" else ["-O2", "-fno-strict-aliasing", "-Wno-unused-function"]
if sys.platform == "linux":
    # Calls of Python's functions without a detour each: between two records that are awaited one by one the caches are
    # somebody else's, and a record takes three per cent less.
    c_flags.append("-fno-plt")
if STRICT and os.name != "nt":
    c_flags += ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-missing-field-initializers", "-Werror"]

BOTH = {"language_level": "3", "initializedcheck": False, "binding": True}
# Written for C: no negative index, no division of negative numbers.
FOR_CYTHON = {"boundscheck": False, "wraparound": False, "cdivision": True, "embedsignature": True}
# Indexes and divisions as in Python. An annotation there is for those who read and check Python, and says nothing of C.
FOR_PYTHON = {"boundscheck": True, "wraparound": True, "cdivision": False, "annotation_typing": False}


def extensions(sources: list[Path]) -> list[Extension]:
    """One extension module for each source."""
    return [
        Extension(".".join(source.with_suffix("").parts), [str(source)], extra_compile_args=c_flags)
        for source in sources
    ]


setup(
    # The C compiler takes most of the time there is to an installation, and has a file at a time.
    options={"build_ext": {"parallel": min(os.cpu_count() or 1, MOST_COMPILERS)}},
    ext_modules=[
        *cythonize(extensions(sorted(SPEEDUPS.glob("*.pyx"))), compiler_directives=BOTH | FOR_CYTHON),
        *cythonize(
            extensions(
                sorted(
                    types.with_suffix(".py")
                    for folder in TYPED_PYTHON
                    for types in Path(folder).glob("*.pxd")
                )
            ),
            compiler_directives=BOTH | FOR_PYTHON,
        ),
    ],
)
