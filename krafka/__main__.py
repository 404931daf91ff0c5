"""Starts the command line, or says what to install for it."""

from __future__ import annotations

import sys

# What the `cli` extra installs.
REQUIRED = {"click", "rich"}


def main() -> None:
    """Run `krafka`; ends the process with the command's exit code."""
    try:
        import click  # noqa: F401, PLC0415  # an optional package
        import rich  # noqa: F401, PLC0415  # an optional package
    except ModuleNotFoundError as error:
        if error.name not in REQUIRED:
            raise
        print(
            f"krafka: the command line needs the package {error.name!r}; "
            "install it with: pip install 'krafka[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    from krafka.cli.app import run  # noqa: PLC0415  # needs what was just looked for

    run()


if __name__ == "__main__":
    main()
