"""Input bytes to records: lines, JSON lines and CSV rows, from chunks of any size and without any I/O."""

from __future__ import annotations

import csv
import json
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

NEWLINE = b"\n"
QUOTE = b'"'
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A row's bytes are bounded by the splitter; the csv module's own bound of 128 KiB would be in the way.
_LARGEST_FIELD = 2**31 - 1


class InputError(ValueError):
    """The input cannot be read as what it was said to be; the text says why."""


class Unsendable(NamedTuple):
    """A line that cannot become a record, and why."""

    reason: str


class TooLong(NamedTuple):
    """A line whose bytes were dropped, for there were more than the limit: `size` of them, so many quotes."""

    size: int
    quotes: int


class Rows(NamedTuple):
    """Records in input order: the number of the line each starts on, its key, and its value."""

    lines: Sequence[int]
    keys: Iterable[bytes | None]
    values: Sequence[bytes | Unsendable]


class InputReader(Protocol):
    """Makes records of the chunks it is fed. However the input is cut into chunks, the records are the same."""

    def feed(self, chunk: bytes) -> Rows:
        """The records that end in this chunk. Raises `InputError` when no record can come of this input."""
        ...

    def finish(self) -> Rows:
        """What is left when the input has ended. Raises `InputError`."""
        ...


class LineSplitter:
    """Cuts bytes at each newline and nowhere else; a line that exceeds `limit` bytes becomes a `TooLong`.

    Of an unfinished line no more than `limit` bytes and one chunk are held.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.next_line = 1
        self._pieces: list[bytes] = []
        self._held = 0
        self._dropped_quotes = 0

    def feed(self, chunk: bytes) -> tuple[int, list[bytes | TooLong]]:
        """The number of the first line that ends in this chunk, and all lines that do."""
        number = self.next_line
        head, newline, rest = chunk.partition(NEWLINE)
        self._hold(head)
        if not newline:
            return number, []
        lines: list[bytes | TooLong] = [self._take()]
        last_start = rest.rfind(NEWLINE) + 1
        if last_start:
            whole = rest[: last_start - 1].split(NEWLINE)
            if len(chunk) > self.limit:
                lines += [line if len(line) <= self.limit else _too_long(line) for line in whole]
            else:
                lines += whole
        self._hold(rest[last_start:])
        self.next_line += len(lines)
        return number, lines

    def finish(self) -> tuple[int, list[bytes | TooLong]]:
        """The last line, if the input did not end in a newline."""
        number = self.next_line
        if not self._held:
            return number, []
        self.next_line += 1
        return number, [self._take()]

    def _hold(self, piece: bytes) -> None:
        if not piece:
            return
        self._held += len(piece)
        self._pieces.append(piece)
        if self._held > self.limit:
            self._dropped_quotes += sum(part.count(QUOTE) for part in self._pieces)
            self._pieces.clear()

    def _take(self) -> bytes | TooLong:
        line: bytes | TooLong
        if self._held > self.limit:
            line = TooLong(self._held, self._dropped_quotes)
        else:
            line = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._held = self._dropped_quotes = 0
        return line


def _too_long(line: bytes) -> TooLong:
    return TooLong(len(line), line.count(QUOTE))


def _refused_for_size(what: str, size: int, limit: int) -> Unsendable:
    return Unsendable(f"the {what} is {size} bytes long; max_request_size is {limit} bytes")


class LineReader:
    """Every line is a value, byte for byte. With a `key_separator`, what stands before its first occurrence is the key.

    A line without the separator cannot be sent.
    """

    def __init__(self, limit: int, key_separator: bytes | None = None) -> None:
        self._splitter = LineSplitter(limit)
        self._separator = key_separator

    def feed(self, chunk: bytes) -> Rows:
        """The lines that end in this chunk."""
        return self._rows(*self._splitter.feed(chunk))

    def finish(self) -> Rows:
        """The last line, if the input did not end in a newline."""
        return self._rows(*self._splitter.finish())

    def _rows(self, first: int, lines: list[bytes | TooLong]) -> Rows:
        numbers = range(first, first + len(lines))
        limit = self._splitter.limit
        values = [
            _refused_for_size("line", line.size, limit) if isinstance(line, TooLong) else line
            for line in lines
        ]
        if self._separator is None:
            return Rows(numbers, repeat(None), values)
        return self._with_keys(numbers, values, self._separator)

    @staticmethod
    def _with_keys(numbers: range, lines: list[bytes | Unsendable], separator: bytes) -> Rows:
        keys: list[bytes | None] = []
        values: list[bytes | Unsendable] = []
        for line in lines:
            key: bytes | None = None
            value: bytes | Unsendable = line
            if not isinstance(line, Unsendable):
                key, found, value = line.partition(separator)
                if not found:
                    key, value = None, Unsendable(f"the line has no key separator {separator.decode()!r}")
            keys.append(key)
            values.append(value)
        return Rows(numbers, keys, values)


class _NoKeyError(Exception):
    """A JSON document has nothing that could be its key."""


class JsonLineReader:
    """Every line is a JSON document and is sent as it was read; one that is not valid JSON cannot be sent.

    With a `key_field`, the line must be an object that has it. A string's text is the key, a number's as it is
    written, `true` and `false` likewise, and `null` is a record without a key.
    """

    def __init__(self, limit: int, key_field: str | None = None) -> None:
        self._splitter = LineSplitter(limit)
        self._key_field = key_field
        self._decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_json_number)

    def feed(self, chunk: bytes) -> Rows:
        """The lines that end in this chunk."""
        return self._rows(*self._splitter.feed(chunk))

    def finish(self) -> Rows:
        """The last line, if the input did not end in a newline."""
        return self._rows(*self._splitter.finish())

    def _rows(self, first: int, lines: list[bytes | TooLong]) -> Rows:
        keys: list[bytes | None] = []
        values: list[bytes | Unsendable] = []
        for line in lines:
            key: bytes | None = None
            value: bytes | Unsendable
            if isinstance(line, TooLong):
                value = _refused_for_size("line", line.size, self._splitter.limit)
            else:
                try:
                    key, value = self._key(line), line
                except RecursionError:
                    value = Unsendable("the JSON is nested too deeply to be checked")
                except ValueError as error:
                    value = Unsendable(f"not valid JSON: {error}")
                except _NoKeyError as error:
                    value = Unsendable(str(error.args[0]))
            keys.append(key)
            values.append(value)
        return Rows(range(first, first + len(lines)), keys, values)

    def _key(self, line: bytes) -> bytes | None:
        """The line's key. Raises ValueError for what is not JSON and _NoKeyError for JSON without the key field."""
        document = self._decoder.decode(line.decode())
        name = self._key_field
        if name is None:
            return None
        if not isinstance(document, dict):
            raise _NoKeyError(f"the key field {name!r} needs a JSON object, and this is none")
        if name not in document:
            raise _NoKeyError(f"the object has no key field {name!r}")
        key = document[name]
        if key is None:
            return None
        if isinstance(key, bool):
            return b"true" if key else b"false"
        if isinstance(key, str):
            try:
                return key.encode()
            except UnicodeEncodeError:
                raise _NoKeyError(f"the key field {name!r} has half of a surrogate pair, not text") from None
        kind = "array" if isinstance(key, list) else "object"
        raise _NoKeyError(f"the key field {name!r} is an {kind}, not text or a number")


def _no_json_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


class _RowEndsLaterError(Exception):
    """The csv parser asked for a line that has not come yet."""


class CsvReader:
    """Rows of comma-separated values (RFC 4180, UTF-8); each becomes a compact JSON object, all values text.

    The first row names the fields. Quoted fields may span lines; the record's line is the one its row starts on.
    Blank lines between rows are passed over. A row with another number of fields than the header cannot be sent.
    """

    def __init__(self, limit: int, key_field: str | None = None) -> None:
        self._splitter = LineSplitter(limit)
        self._key_field = key_field
        self._key_index: int | None = None
        self._header: list[str] = []
        self._start = 1
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._skipping = False
        csv.field_size_limit(_LARGEST_FIELD)

    def feed(self, chunk: bytes) -> Rows:
        """The rows that end in this chunk. Raises `InputError` for a header that cannot be used."""
        first, lines = self._splitter.feed(chunk)
        return self._rows(first, lines)

    def finish(self) -> Rows:
        """The last row, if the input did not end in a newline. Raises `InputError` if there was no header."""
        first, lines = self._splitter.finish()
        rows = self._rows(first, lines)
        if self._held:
            self._held.clear()
            if not self._header:
                raise InputError("the CSV header has a quoted field that is never closed")
            unclosed = Unsendable("a quoted field of this row is not closed before the end of the input")
            return Rows([*rows.lines, self._start], [*rows.keys, None], [*rows.values, unclosed])
        if not self._header:
            raise InputError("the CSV input is empty; it needs a header row with the names of the fields")
        return rows

    def _rows(self, first: int, lines: list[bytes | TooLong]) -> Rows:
        numbers: list[int] = []
        keys: list[bytes | None] = []
        values: list[bytes | Unsendable] = []
        for number, line in enumerate(lines, first):
            if not self._held and not self._skipping:
                self._start = number
            row = self._take_line(line)
            if row is None:
                continue
            if not self._header:
                self._take_header(row)
                continue
            key, value = self._record(row)
            numbers.append(self._start)
            keys.append(key)
            values.append(value)
        return Rows(numbers, keys, values)

    def _take_line(self, line: bytes | TooLong) -> list[str] | Unsendable | None:
        """The row that this line completes; None if it completes none."""
        quotes = line.quotes if isinstance(line, TooLong) else line.count(QUOTE)
        if self._skipping:
            self._skipping = quotes % 2 == 0
            return None
        size = line.size if isinstance(line, TooLong) else len(line) + 1
        if isinstance(line, TooLong) or self._held_bytes + size > self._splitter.limit:
            return self._drop(quotes, self._held_bytes + size)
        if self._start == 1 and not self._held:
            line = line.removeprefix(BYTE_ORDER_MARK)
        self._held_bytes += size
        self._held.append(line)
        # Inside a quoted field, quotes in pairs leave the row open.
        if len(self._held) > 1 and quotes % 2 == 0:
            return None
        row = _parse(self._held)
        if row is None:
            return None
        self._held.clear()
        self._held_bytes = 0
        return row or None

    def _drop(self, quotes: int, size: int) -> Unsendable:
        """Give up a row that is too large, and what of it is still to come: up to the quote that closes it."""
        quotes += sum(line.count(QUOTE) for line in self._held)
        self._skipping = quotes % 2 == 1
        self._held.clear()
        self._held_bytes = 0
        at_least = "at least " if self._skipping else ""
        hint = " (is a quote missing?)" if self._skipping else ""
        return Unsendable(
            f"the row is {at_least}{size} bytes long; max_request_size is {self._splitter.limit} bytes{hint}"
        )

    def _take_header(self, row: list[str] | Unsendable) -> None:
        if isinstance(row, Unsendable):
            raise InputError(f"the CSV header (line {self._start}) cannot be read: {row.reason}")
        repeated = sorted({name for name in row if row.count(name) > 1})
        if repeated:
            raise InputError(
                f"the CSV header has {repeated[0]!r} more than once; each field needs its own name"
            )
        if self._key_field is not None:
            if self._key_field not in row:
                raise InputError(
                    f"the CSV header has no field {self._key_field!r} for the key; it has {', '.join(row)}"
                )
            self._key_index = row.index(self._key_field)
        self._header = row

    def _record(self, row: list[str] | Unsendable) -> tuple[bytes | None, bytes | Unsendable]:
        if isinstance(row, Unsendable):
            return None, row
        if len(row) != len(self._header):
            return None, Unsendable(f"the row has {len(row)} fields, the header {len(self._header)}")
        key = None if self._key_index is None else row[self._key_index].encode()
        fields = dict(zip(self._header, row, strict=True))
        return key, json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def _parse(lines: list[bytes]) -> list[str] | Unsendable | None:
    """The row these lines make, empty for a blank line; None if it goes on in the next line."""
    # Bytes that are not UTF-8 are looked past until it is known where the row ends.
    texts = iter([line.decode(errors="surrogateescape") + "\n" for line in lines])
    try:
        row = next(csv.reader(_then_more(texts), strict=True))
    except _RowEndsLaterError:
        return None
    except csv.Error as error:
        return Unsendable(f"not valid CSV: {error}")
    if next(texts, None) is not None:
        return Unsendable("not valid CSV: a quote inside an unquoted field, in a row of several lines")
    try:
        b"\n".join(lines).decode()
    except UnicodeDecodeError as error:
        return Unsendable(f"not valid UTF-8: {error.reason} at byte {error.start}")
    return row


def _then_more(lines: Iterator[str]) -> Iterator[str]:
    yield from lines
    raise _RowEndsLaterError
