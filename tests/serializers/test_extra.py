"""Without the extra there is one error, and it says what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("missing", ["fastavro", "google.protobuf", "httpx2", "jsonschema_rs"])
def test_a_missing_package_is_named_with_the_line_that_brings_it(missing: str) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import krafka.serializers\n"
        "try:\n"
        "    import krafka.serializers.schema_registry\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error)\n"
        "    print(error.name)\n"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert printed == (
        f"krafka.serializers.schema_registry needs the package {missing!r}, which is not installed; "
        "install it with: pip install 'krafka[schema-registry]'\n"
        f"{missing}\n"
    )
