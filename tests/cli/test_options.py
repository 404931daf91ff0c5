"""Wrong options and missing packages: exit code 2 and a text that says what to do, before anything is opened."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from krafka._presets import PRESETS as OPTIONS_OF_PRESETS
from krafka.cli.app import cli
from krafka.cli.options import PRESETS, Duration, NameValue, make_config, unescape_separator

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "seconds"), [("5ms", 0.005), ("0.5s", 0.5), ("2", 2.0), (".25", 0.25), ("1.5 ms", 0.0015)]
)
def test_durations(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5m", "-1", "nan", "1e3", "ms", "5 ms ms", "inf"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(click.BadParameter, match="no duration"):
        Duration().convert(text, None, None)


def test_names_and_values() -> None:
    assert NameValue().convert("a=b=c", None, None) == ("a", "b=c")
    assert NameValue().convert("a=", None, None) == ("a", "")
    for wrong in ("a", "=b", ""):
        with pytest.raises(click.BadParameter, match="NAME=VALUE"):
            NameValue().convert(wrong, None, None)


def test_separators() -> None:
    assert [unescape_separator(text) for text in ("\\t", "\t", "\\0", "::", "ü")] == [
        b"\t",
        b"\t",
        b"\x00",
        b"::",
        "ü".encode(),
    ]


def test_options_win_over_properties() -> None:
    properties = (("linger.ms", "7"), ("bootstrap.servers", "a:1"), ("batch.size", "1000"))
    config = make_config("b:2", properties, {"linger": 0.5, "compression": None, "acks": 1})
    assert (config.bootstrap_servers, config.linger, config.batch_size) == ((("b", 2),), 0.5, 1000)
    assert config.acks == 1


def test_a_file_of_properties_is_below_what_is_given_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "client.properties"
    file.write_text(
        "bootstrap.servers=kafka:9092\nlinger.ms=7\nbatch.size=1000\nsecurity.protocol=SASL_SSL\n"
        "sasl.mechanism=PLAIN\nsasl.username=alice\nsasl.password=s3cr3t\n"
    )
    config = make_config(None, (("batch.size", "2000"),), {"linger": 0.5}, None, str(file))
    assert (config.linger, config.batch_size, config.bootstrap_servers) == (0.5, 2000, (("kafka", 9092),))
    config = make_config(None, (), {}, "high-throughput", str(file))
    assert (config.linger, config.compression) == (0.007, "lz4")
    done = CliRunner().invoke(cli, ["config", "-F", str(file)])
    assert done.exit_code == 0
    assert "auth = Plain(username='alice')" in done.output
    assert "s3cr3t" not in done.output
    file.write_text("linger.ms=\\u12\n")
    done = CliRunner().invoke(cli, ["config", "-F", str(file), "-b", "kafka:9092"])
    assert done.exit_code == 2
    assert "client.properties" in done.output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["-X", "linger.m=1"], "linger.m is an unknown property; the nearest known one is linger.ms"),
        (["-X", "linger.ms=1", "-X", "linger.ms=2"], "-X gives linger.ms more than once"),
        (["-X", "linger"], "NAME=VALUE"),
        (["--linger", "5 minutes"], "no duration"),
        (["--compression", "brotli"], "brotli"),
        (["--compression", "zstd", "--compression-level", "99"], "compression_level"),
        (["--acks", "two"], "two"),
        (["--key-field", "id"], "lines have --key-separator"),
        (["--format", "csv", "--key-separator", ","], "csv has --key-field"),
        (["--key-separator", ""], "must not be empty"),
        (["--partition", "-1"], "-1"),
        (
            ["--report", "/no/such/folder/report"],
            "report /no/such/folder/report cannot be written: No such file",
        ),
        (["-b", "nowhere"], "bootstrap_servers"),
    ],
)
def test_a_wrong_option_is_a_usage_error(arguments: list[str], text: str) -> None:
    result = CliRunner().invoke(cli, ["produce", "t", "-b", "127.0.0.1:1", __file__, *arguments])
    assert result.exit_code == 2
    assert text in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["t", __file__], "Missing option '-b'"),
        (["a topic", __file__, "-b", "a:1"], "may have only ASCII letters"),
        (["t", "/no/such/file", "-b", "a:1"], "/no/such/file cannot be read: No such file or directory"),
        (["t", "/", "-b", "a:1"], "/ cannot be read: Is a directory"),
        ([], "Missing argument 'TOPIC'"),
    ],
)
def test_a_wrong_topic_or_file_is_a_usage_error(arguments: list[str], text: str) -> None:
    result = CliRunner().invoke(cli, ["produce", *arguments])
    assert result.exit_code == 2
    assert text in result.stderr


def python_without(package: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = (
        f"import sys; sys.modules[{package!r}] = None; sys.argv[1:] = {list(arguments)!r}; "
        "from krafka.__main__ import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=180
    )


@pytest.mark.parametrize("package", ["click", "rich"])
def test_without_the_extra_one_line_says_what_to_install(package: str) -> None:
    done = python_without(package, "--help")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"krafka: the command line needs the package {package!r}; install it with: pip install 'krafka[cli]'"
    ]


@pytest.mark.parametrize("backend", ["trio", "uvloop"])
def test_a_backend_that_is_not_installed(backend: str, tmp_path: Path) -> None:
    done = python_without(backend, "produce", "t", str(tmp_path), "-b", "a:1", "--backend", backend)
    assert done.returncode == 2
    assert f"pip install 'krafka[{backend}]'" in done.stderr


def test_help_names_the_commands_without_loading_the_library() -> None:
    program = (
        "import sys; from krafka.cli.app import cli; cli(['--help'], standalone_mode=False); "
        "print('krafka.cli.produce' in sys.modules, 'krafka.testing' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=180
    )
    assert "produce" in done.stdout
    assert "demo" in done.stdout
    assert done.stdout.splitlines()[-1] == "False False"


# -- presets -----------------------------------------------------------------------------------------------------------


def test_properties_and_options_win_over_a_preset() -> None:
    properties = (("queue.buffering.max.ms", "7"), ("bootstrap.servers", "a:1"))
    config = make_config(None, properties, {"compression": "zstd"}, "high-throughput")
    assert (config.linger, config.compression.value, config.batch_size) == (0.007, "zstd", 131072)


def test_every_preset_is_offered() -> None:
    assert [name.replace("-", "_") for name in PRESETS] == list(OPTIONS_OF_PRESETS)


def test_config_prints_what_it_changes() -> None:
    result = CliRunner().invoke(
        cli, ["config", "-b", "a:1", "--preset", "high-throughput", "-X", "linger.ms=3"]
    )
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "bootstrap_servers = 'a:1'",
        "compression = 'lz4'  # default 'none'",
        "batch_size = 131072  # default 65536",
        "linger = 0.003  # default 0.0",
        "buffer_memory = 67108864  # default 33554432",
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--preset", "durable"], "Missing option '-b'"),
        (
            ["-b", "a:1", "--preset", "fast"],
            "'fast' is not one of 'high-throughput', 'low-latency', 'durable'",
        ),
        (["-b", "a:1", "--preset", "durable", "-X", "acks=1"], "idempotent=True must go with acks"),
        (["-b", "a:1", "-X", "lingr.ms=1"], "the nearest known one is linger.ms"),
    ],
)
def test_config_refuses_what_a_producer_would(arguments: list[str], text: str) -> None:
    result = CliRunner().invoke(cli, ["config", *arguments])
    assert result.exit_code == 2
    assert text in result.stderr
