"""The commands and their options."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from krafka._version import __version__
from krafka.cli.options import (
    ACKS,
    BACKENDS,
    CODECS,
    PRESETS,
    Duration,
    NameValue,
    backend_arguments,
    make_config,
)
from krafka.cli.options import unescape_separator as unescape

if TYPE_CHECKING:
    from collections.abc import Generator

    from krafka.cli.readers import InputReader

USAGE = 2
INTERRUPTED = 130

backend_option = click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    default="asyncio",
    show_default=True,
    help="Event loop to run on.",
)
bootstrap_option = click.option(
    "-b", "--bootstrap-servers", metavar="HOST:PORT,...", help="Brokers to connect to first."
)
preset_option = click.option(
    "--preset", type=click.Choice(PRESETS), help="Options for a common aim; all others given win."
)
properties_option = click.option(
    "-X",
    "properties",
    type=NameValue(),
    multiple=True,
    help="A producer option by Kafka's name, such as -X max.block.ms=5000; repeatable. The options above win.",
)
file_option = click.option(
    "-F",
    "--properties-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Producer options by Kafka's names, as in a client.properties; the place for passwords. -X wins.",
)
compression_option = click.option("--compression", type=click.Choice(CODECS), help="Codec of the batches.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="krafka")
def cli() -> None:
    """Send records to Apache Kafka."""


@cli.command()
@click.argument("topic")
@click.argument("file", default="-", type=click.Path(allow_dash=True))
@bootstrap_option
@click.option(
    "--format",
    "input_format",
    type=click.Choice(["lines", "jsonl", "csv"]),
    default="lines",
    show_default=True,
    help="lines: each line's bytes. jsonl: the same, checked to be JSON. csv: each row as a JSON object, "
    "the first row names its fields.",
)
@click.option("--key-field", metavar="NAME", help="Field that is the key (jsonl and csv).")
@click.option(
    "--key-separator", metavar="SEP", help="What stands between key and value (lines); \\t is a tab."
)
@click.option(
    "--header", "headers", type=NameValue(), multiple=True, help="Header of every record; repeatable."
)
@preset_option
@compression_option
@click.option("--compression-level", type=int, help="The codec's level.")
@click.option("--linger", type=Duration(), help="How long a batch waits for more records: 0.005, 5ms.")
@click.option("--acks", type=click.Choice(ACKS), help="Who must have a record before it counts as sent.")
@click.option(
    "--close-timeout", type=Duration(), help="How long a signal leaves for what was sent; 5 s by default."
)
@click.option("--partition", type=click.IntRange(min=0), help="Send every record to this partition.")
@properties_option
@file_option
@click.option(
    "--report",
    metavar="FILE",
    type=click.Path(allow_dash=True, dir_okay=False),
    help="Write a JSON line on each input line: its partition and offset, or its error.",
)
@backend_option
@click.option("-q", "--quiet", is_flag=True, help="Say nothing unless something fails.")
def produce(
    topic: str,
    file: str,
    bootstrap_servers: str | None,
    input_format: str,
    key_field: str | None,
    key_separator: str | None,
    headers: tuple[tuple[str, str], ...],
    partition: int | None,
    preset: str | None,
    properties: tuple[tuple[str, str], ...],
    properties_file: str | None,
    report: str | None,
    backend: str,
    quiet: bool,
    **options: Any,
) -> int:
    """Send each line of FILE, or of standard input, to TOPIC.

    Lines end at a newline byte and nowhere else; an empty line is an empty value. Exit code 0 if every line was
    acknowledged, 1 if not, 2 for a wrong option or file, 130 and 143 when ended by SIGINT and SIGTERM.
    """
    if options["acks"] in {"-1", "0", "1"}:
        options["acks"] = int(options["acks"])
    config = make_config(bootstrap_servers, properties, options, preset, properties_file)
    arguments = backend_arguments(backend)
    _check_topic_name(topic)
    reader = _make_reader(input_format, config.max_request_size, key_field, key_separator)

    import anyio  # noqa: PLC0415  # `krafka --help` and a usage error need not wait for the library

    from krafka.cli.console import library_warnings, say  # noqa: PLC0415  # as above
    from krafka.cli.produce import ProduceJob, produce_input  # noqa: PLC0415  # as above
    from krafka.cli.source import Source  # noqa: PLC0415  # as above
    from krafka.cli.summary import conclude  # noqa: PLC0415  # as above

    try:
        source = Source.open(file)
    except (OSError, ValueError) as error:
        raise click.UsageError(
            f"{file} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    _check_report_is_not_input(report, file)
    with contextlib.closing(source), _report_file(report) as report_file, library_warnings(quiet=quiet):
        if source.is_terminal and not quiet:
            say("krafka: reading from the terminal; end with Ctrl-D")
        job = ProduceJob(
            config=config,
            topic=topic,
            source=source,
            reader=reader,
            headers=tuple((name, os.fsencode(value)) for name, value in headers) or None,
            partition=partition,
            report=report_file,
            quiet=quiet,
        )
        return conclude(anyio.run(produce_input, job, **arguments))


def _check_topic_name(topic: str) -> None:
    from krafka.records import explain_invalid  # noqa: PLC0415  # as in the commands

    problem = explain_invalid(topic, None, None, (), None, None)
    if problem is not None:
        raise click.UsageError(str(problem))


def _make_reader(
    input_format: str, limit: int, key_field: str | None, key_separator: str | None
) -> InputReader:
    from krafka.cli import readers  # noqa: PLC0415  # as in the commands

    if input_format == "lines":
        if key_field is not None:
            raise click.UsageError("--key-field goes with --format jsonl or csv; lines have --key-separator")
        if key_separator == "":
            raise click.UsageError("--key-separator must not be empty")
        return readers.LineReader(limit, None if key_separator is None else unescape(key_separator))
    if key_separator is not None:
        raise click.UsageError(f"--key-separator goes with --format lines; {input_format} has --key-field")
    if input_format == "jsonl":
        return readers.JsonLineReader(limit, key_field)
    return readers.CsvReader(limit, key_field)


def _check_report_is_not_input(report: str | None, file: str) -> None:
    """Refuse to empty the input before it is read."""
    if report is None or "-" in {report, file}:
        return
    with contextlib.suppress(OSError):
        if os.path.samefile(report, file):
            raise click.UsageError(f"the report {report} is the input file; give another name")


@contextlib.contextmanager
def _report_file(path: str | None) -> Generator[BinaryIO | None]:
    if path is None:
        yield None
        return
    if path == "-":
        if sys.stdout is None:
            raise click.UsageError("--report - needs standard output, which is closed")
        yield sys.stdout.buffer
        return
    try:
        file = open(path, "wb")  # noqa: SIM115  # a name from the command line; closed below
    except OSError as error:
        raise click.UsageError(f"the report {path} cannot be written: {error.strerror or error}") from error
    try:
        yield file
    finally:
        # Its last bytes were flushed, and a failure of that reported, by the run.
        with contextlib.suppress(OSError):
            file.close()


@cli.command()
@bootstrap_option
@preset_option
@properties_option
@file_option
def config(
    bootstrap_servers: str | None,
    preset: str | None,
    properties: tuple[tuple[str, str], ...],
    properties_file: str | None,
) -> int:
    """Check options, and print what they change: those given, and those that follow from them. Connects to nothing."""
    click.echo(make_config(bootstrap_servers, properties, {}, preset, properties_file).explain())
    return 0


@cli.command()
@click.option("--records", type=click.IntRange(min=1), help="How many; by default each airport once.")
@compression_option
@backend_option
@click.option("--keep", is_flag=True, help="Leave the broker running afterwards, until Ctrl-C.")
def demo(records: int | None, compression: str | None, backend: str, keep: bool) -> int:
    """Start a Kafka broker, send it every airport of the world, and have Kafka's own tools count and read them.

    The first run downloads Apache Kafka (about 55 MB). Exit code 0 only if what the broker holds is what was
    acknowledged, record by record.
    """
    arguments = backend_arguments(backend)

    import anyio  # noqa: PLC0415  # as in `produce`

    from krafka.cli.demo import Demo, check_packages  # noqa: PLC0415  # as in `produce`

    missing = check_packages()
    if missing:
        raise click.UsageError(
            f"the demo needs {', '.join(missing)}; install what is missing with: pip install 'krafka[demo]'"
        )
    tour = Demo(records=records, compression=compression or "none", keep=keep)
    anyio.run(tour.run, **arguments)
    return tour.exit_code


def run() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("krafka: interrupted", err=True)
        code = INTERRUPTED
    except BrokenPipeError:
        code = 1
    sys.exit(_close_output(code or 0))


def _close_output(code: int) -> int:
    """Flush standard output while a failure can still be told; whoever read it may have gone."""
    if sys.stdout is None:
        return code
    try:
        sys.stdout.flush()
    except OSError:
        # Python would try again at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or 1
    return code
