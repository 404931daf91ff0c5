"""How Sphinx builds krafka's documentation: MyST pages, and the API from the docstrings."""

from __future__ import annotations

from pathlib import Path

import krafka
from krafka.errors import error_classes_by_code

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


def write_error_codes(target: Path) -> None:
    """The table of Kafka's error codes, which errors.md includes."""
    rows = ["| code | class | retried | what it says |", "| --- | --- | --- | --- |"]
    for code, error in error_classes_by_code().items():
        retried = "yes" if error.is_retriable else ""
        rows.append(f"| {code} | `{error.__name__}` | {retried} | {error.summary} |")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(rows) + "\n")


write_error_codes(Path(__file__).parent / "_build" / "error-codes.md")
