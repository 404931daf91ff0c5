"""How Sphinx builds krafka's documentation: MyST pages, and the API from the docstrings."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))

import generate_docs

import krafka

project = "krafka"
author = "The krafka authors"
copyright = "the krafka authors"  # noqa: A001 - Sphinx's name for it
version = release = krafka.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"krafka {release}"

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

# Docstrings write names and values in single backticks, as Markdown does.
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"show-inheritance": True}
python_maximum_signature_line_length = 100


# The tables of errors and the pictures of states come from the code's own tables.
generate_docs.write(Path(__file__).parent / "_build")
