"""Input readers: however the input is cut into chunks, the same records come out, and no byte is lost or bent."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krafka.cli.readers import (
    CsvReader,
    InputError,
    InputReader,
    JsonLineReader,
    LineReader,
    LineSplitter,
    TooLong,
    Unsendable,
)

LIMIT = 1024 * 1024
Record = tuple[int, "bytes | None", "bytes | Unsendable"]

alphabet = st.sampled_from(
    [b"a", b"\n", b"\r", b"\n\n", b'"', b'""', b",", b"\xf0\x9f\x98\x80", b"\xff", b"\x00"]
)
messy = st.lists(alphabet, max_size=60).map(b"".join)
cuts = st.lists(st.integers(1, 7), max_size=40)


def chunks_of(data: bytes, sizes: list[int]) -> list[bytes]:
    chunks = []
    for size in sizes:
        if data:
            chunks.append(data[:size])
            data = data[size:]
    return [*chunks, data] if data else chunks


def read(reader: InputReader, chunks: list[bytes]) -> list[Record]:
    records: list[Record] = []
    for rows in [*map(reader.feed, chunks), reader.finish()]:
        records += list(zip(rows.lines, _first(rows.keys, len(rows.values)), rows.values, strict=True))
    return records


def _first(keys: object, count: int) -> list[bytes | None]:
    iterator = iter(keys)  # type: ignore[call-overload]  # an iterable that may be endless
    return [next(iterator) for _ in range(count)]


def values_of(records: list[Record]) -> list[bytes | Unsendable]:
    return [value for _, _, value in records]


def reason_of(value: bytes | Unsendable) -> str:
    assert isinstance(value, Unsendable)
    return value.reason


# -- lines ----------------------------------------------------------------------------------------------------


@given(messy, cuts)
def test_lines_are_what_lies_between_newlines(data: bytes, sizes: list[int]) -> None:
    expected = data.split(b"\n")
    if not expected[-1]:
        expected.pop()
    records = read(LineReader(LIMIT), chunks_of(data, sizes))
    assert values_of(records) == expected
    assert [line for line, _, _ in records] == list(range(1, len(expected) + 1))


@pytest.mark.parametrize("chunk_size", [1, 3, 4096, 10**7])
def test_nasty_lines_come_out_as_they_are(chunk_size: int) -> None:
    lines = [b"", b'"', b"\r", b'{"a": "\\"\xf0\x9f\x98\x80"}', b"", b"x" * 900 * 1024, b"\x00\xff\xfe", b" "]
    data = b"\n".join(lines)
    sizes = [chunk_size] * (len(data) // chunk_size) if chunk_size > 3 else [chunk_size] * 200
    assert values_of(read(LineReader(LIMIT), chunks_of(data, sizes))) == lines


@given(messy, cuts, st.integers(1, 8))
def test_only_lines_over_the_limit_are_dropped_and_counted(data: bytes, sizes: list[int], limit: int) -> None:
    splitter = LineSplitter(limit)
    found: list[bytes | TooLong] = []
    for chunk in chunks_of(data, sizes):
        first, lines = splitter.feed(chunk)
        assert first == len(found) + 1
        found += lines
    found += splitter.finish()[1]
    whole = data.split(b"\n")
    if not whole[-1]:
        whole.pop()
    assert found == [line if len(line) <= limit else TooLong(len(line), line.count(b'"')) for line in whole]


def test_an_endless_line_is_not_held() -> None:
    splitter = LineSplitter(1000)
    for _ in range(50):
        assert splitter.feed(b'"' * 100) == (1, [])
        assert sum(map(len, splitter._pieces)) <= 1000
    assert splitter.feed(b"\nnext\n") == (1, [TooLong(5000, 5000), b"next"])


def test_a_line_over_the_limit_names_both_sizes() -> None:
    (_, _, value), (line, _, good) = read(LineReader(5), [b"abcdef\nabcde\n"])
    assert reason_of(value) == "the line is 6 bytes long; max_request_size is 5 bytes"
    assert (line, good) == (2, b"abcde")


def test_key_separator_splits_at_its_first_occurrence() -> None:
    records = read(LineReader(LIMIT, b"::"), [b"k::v::w\n::v\nk::\nnone\n"])
    assert [(key, value) for _, key, value in records[:3]] == [(b"k", b"v::w"), (b"", b"v"), (b"k", b"")]
    assert records[3] == (4, None, Unsendable("the line has no key separator '::'"))


# -- JSON lines -----------------------------------------------------------------------------------------------

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.tuples(documents, st.booleans()), max_size=8), cuts)
def test_valid_json_is_sent_byte_for_byte(entries: list[tuple[object, bool]], sizes: list[int]) -> None:
    lines = [
        json.dumps(document, ensure_ascii=ascii_only).encode(errors="replace")
        for document, ascii_only in entries
    ]
    data = b"".join(line + b"\n" for line in lines)
    assert values_of(read(JsonLineReader(LIMIT), chunks_of(data, sizes))) == lines


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"NaN",
        b"[-Infinity]",
        b"'a'",
        b'"\xff"',
        b"1 2",
        b'\xef\xbb\xbf{"a":1}',
        b"\x001\x00",
        b"[" * 100_000,
    ],
)
def test_what_is_not_json_fails_alone(line: bytes) -> None:
    records = read(JsonLineReader(LIMIT), [b'{"a": 1}\n' + line + b"\n[2]"])
    assert values_of(records)[::2] == [b'{"a": 1}', b"[2]"]
    assert "JSON" in reason_of(records[1][2])


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('"é\\n"', "é\n".encode()),
        ("1.10", b"1.10"),
        ("-7E+2", b"-7E+2"),
        ("1" * 5000, b"1" * 5000),
        ("true", b"true"),
        ("false", b"false"),
        ("null", None),
        ('""', b""),
    ],
)
def test_key_field_of_an_object(text: str, key: bytes | None) -> None:
    line = f'{{"other": 1, "id": {text}}}'.encode()
    assert read(JsonLineReader(LIMIT, "id"), [line]) == [(1, key, line)]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[1]", "the key field 'id' needs a JSON object, and this is none"),
        (b"{}", "the object has no key field 'id'"),
        (b'{"id": []}', "the key field 'id' is an array, not text or a number"),
        (b'{"id": {}}', "the key field 'id' is an object, not text or a number"),
        (b'{"id": "\\ud800"}', "the key field 'id' has half of a surrogate pair, not text"),
    ],
)
def test_a_line_without_a_usable_key_fails_alone(line: bytes, reason: str) -> None:
    records = read(JsonLineReader(LIMIT, "id"), [line + b'\n{"id": 1}'])
    assert records == [(1, None, Unsendable(reason)), (2, b"1", b'{"id": 1}')]


# -- CSV ------------------------------------------------------------------------------------------------------

fields = st.text(st.sampled_from('ab",\n\r;é😀 '), max_size=6)


@given(st.lists(st.tuples(fields, fields, fields), max_size=8), st.sampled_from(["\n", "\r\n"]), cuts)
def test_what_a_csv_writer_wrote_comes_back(
    rows: list[tuple[str, str, str]], ending: str, sizes: list[int]
) -> None:
    out = io.StringIO(newline="")
    # Python's writer leaves a carriage return bare unless it is part of its line ending.
    writer = csv.writer(
        out, lineterminator=ending, quoting=csv.QUOTE_ALL if ending == "\n" else csv.QUOTE_MINIMAL
    )
    starts = []
    for row in [("a", "b", "ü"), *rows]:
        starts.append(out.getvalue().count("\n") + 1)
        writer.writerow(row)
    records = read(CsvReader(LIMIT, "b"), chunks_of(out.getvalue().encode(), sizes))
    assert [line for line, _, _ in records] == starts[1:]
    assert [key for _, key, _ in records] == [row[1].encode() for row in rows]
    for (_, _, value), row in zip(records, rows, strict=True):
        assert isinstance(value, bytes)
        assert json.loads(value) == dict(zip(["a", "b", "ü"], row, strict=True))
        assert b"\n" not in value


@given(messy, cuts)
def test_csv_rows_do_not_depend_on_the_chunks(data: bytes, sizes: list[int]) -> None:
    data = b"a,b\n" + data
    assert read(CsvReader(20), chunks_of(data, sizes)) == read(CsvReader(20), [data])


def test_bad_rows_fail_alone_with_the_line_they_start_on() -> None:
    data = b'a,b\n1,2\n\n3\n"x"y,1\n\xff,1\n"p\nq\xff\nr",1\n7" pipe,1\nlast,1\n"open,\n1\n'
    records = read(CsvReader(LIMIT), [data])
    assert [(line, value) for line, _, value in records if not isinstance(value, Unsendable)] == [
        (2, b'{"a":"1","b":"2"}'),
        (10, b'{"a":"7\\" pipe","b":"1"}'),
        (11, b'{"a":"last","b":"1"}'),
    ]
    failed = [(line, value.reason) for line, _, value in records if isinstance(value, Unsendable)]
    assert [line for line, _ in failed] == [4, 5, 6, 7, 12]
    assert failed[0][1] == "the row has 1 fields, the header 2"
    assert failed[1][1].startswith("not valid CSV")
    assert failed[2][1] == "not valid UTF-8: invalid start byte at byte 0"
    assert failed[3][1] == "not valid UTF-8: invalid start byte at byte 4"
    assert "not closed before the end" in failed[4][1]


def test_rows_that_a_stray_quote_runs_together_are_refused_not_lost() -> None:
    records = read(CsvReader(LIMIT), [b'a,b\n"x\ny",5" pipe\n1,2\n3,4" pipe\n5,6\n'])
    assert records[0][0] == 2
    assert "quote inside an unquoted field" in reason_of(records[0][2])
    assert records[1:] == [(6, None, b'{"a":"5","b":"6"}')]


@pytest.mark.parametrize("cut", [5, 10**6])
def test_a_row_over_the_limit_is_skipped_to_its_end(cut: int) -> None:
    data = b'a,b\n"' + b"x\n" * 40 + b'",1\n2,' + b"y" * 99 + b'\n3,"' + b"z" * 99 + b'\n"\n4,5\n'
    records = read(CsvReader(50), chunks_of(data, [cut] * 60))
    assert [line for line, _, _ in records] == [2, 43, 44, 46]
    assert "at least" in reason_of(records[0][2])
    assert "is a quote missing?" in reason_of(records[0][2])
    assert reason_of(records[1][2]) == "the row is 101 bytes long; max_request_size is 50 bytes"
    assert records[3] == (46, None, b'{"a":"4","b":"5"}')


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    assert read(CsvReader(LIMIT, "a"), [b"\xef\xbb\xbfa\n1\n"]) == [(2, b"1", b'{"a":"1"}')]


@pytest.mark.parametrize(
    ("data", "key_field", "reason"),
    [
        (b"", None, "needs a header row"),
        (b"\n\n", None, "needs a header row"),
        (b"a,a\n", None, "'a' more than once"),
        (b"a,b\n", "c", "no field 'c' for the key; it has a, b"),
        (b"\xff\n", None, "cannot be read: not valid UTF-8"),
        (b'"a,b\n', None, "never closed"),
    ],
)
def test_a_header_that_cannot_be_used_is_said_so(data: bytes, key_field: str | None, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read(CsvReader(LIMIT, key_field), [data])
