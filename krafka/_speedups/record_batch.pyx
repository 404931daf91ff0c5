"""Record batches v2: records encoded into one growing buffer, and the 61-byte header stamped apart from them.

The format is Kafka's ``DefaultRecordBatch`` and ``DefaultRecord`` (magic 2, KIP-98 and KIP-82).
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.object cimport PyObject
from libc.stdint cimport int16_t, int32_t, int64_t, uint32_t
from libc.string cimport memcpy

from krafka._speedups.checksum cimport crc32c_of
from krafka._speedups.endian cimport store_int16, store_int32, store_int64, store_uint32
from krafka._speedups.varint cimport length_size, read_varint, varint_size

from collections.abc import Mapping, Sequence

from krafka.records import MAX_HEADERS as _HEADERS_LIMIT

cdef extern from "Python.h":
    # As they are: what cpython.tuple calls so gives references that have to be counted.
    PyObject* PyTuple_GET_ITEM(object items, Py_ssize_t at)
    Py_ssize_t PyTuple_GET_SIZE(object items)
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

HEADER_SIZE = 61
MAX_FIELD_SIZE = LARGEST_FIELD

cdef Py_ssize_t _HEADER_SIZE = 61
cdef Py_ssize_t _CRC_START = 21
cdef Py_ssize_t _MAX_HEADERS = _HEADERS_LIMIT
cdef int32_t _MAX_SEQUENCE = 2**31 - 1


cdef class RecordFields:

    def __cinit__(self):
        self.view.headers = self.inline_headers
        self.view.header_count = 0
        self.view.headers_size = 1
        self.buffers = NULL
        self.buffer_count = 0
        self.buffer_capacity = 0
        self.owners = None

    def __dealloc__(self):
        self.release()
        if self.buffers is not NULL:
            PyMem_Free(self.buffers)

    cdef int borrow(self, object source, Field* field) except -1:
        cdef Py_buffer* grown
        if view_plain(source, field):
            return 0
        if isinstance(source, (bytes, bytearray, memoryview)):
            if self.buffer_count == self.buffer_capacity:
                grown = <Py_buffer*>PyMem_Realloc(self.buffers, (self.buffer_capacity * 2 + 4) * sizeof(Py_buffer))
                if grown is NULL:
                    raise MemoryError
                self.buffers = grown
                self.buffer_capacity = self.buffer_capacity * 2 + 4
            PyObject_GetBuffer(source, &self.buffers[self.buffer_count], PyBUF_SIMPLE)
            field.data = <const char*>self.buffers[self.buffer_count].buf
            field.size = self.buffers[self.buffer_count].len
            self.buffer_count += 1
        else:
            raise TypeError
        if field.size > LARGEST_FIELD:
            raise ValueError
        return 0

    cdef int take_headers(self, object headers) except -1:
        cdef Py_ssize_t at, count
        cdef HeaderField* header
        cdef tuple items
        # A tuple of our own: the caller's list may change hands, the borrowed pointers may not.
        if isinstance(headers, (tuple, list)):
            items = tuple(headers)
        elif isinstance(headers, Mapping):
            items = tuple(headers.items())
        elif isinstance(headers, Sequence):
            items = tuple(headers)
        else:
            # An iterator would be used up by a first attempt that finds the buffer full.
            raise TypeError
        count = PyTuple_GET_SIZE(items)
        if count > _MAX_HEADERS:
            raise ValueError(f"a record has {count} headers, the limit is {_MAX_HEADERS}")
        self.owners = items
        if count > MAX_HEADERS_INLINE:
            self.view.headers = <HeaderField*>PyMem_Malloc(count * sizeof(HeaderField))
            if self.view.headers is NULL:
                self.view.headers = self.inline_headers
                raise MemoryError
        self.view.headers_size = length_size(count)
        for at in range(count):
            header = &self.view.headers[at]
            self.take_header(PyTuple_GET_ITEM(items, at), header)
            self.view.headers_size += length_size(header.key.size) + length_size(header.value.size) + header.key.size
            if header.value.size > 0:
                self.view.headers_size += header.value.size
        self.view.header_count = count
        return 0

    cdef inline int take_header(self, PyObject* item, HeaderField* header) except -1:
        cdef PyObject* name
        cdef PyObject* value
        # A tuple, because what it holds cannot be replaced while we hold pointers into it.
        if not isinstance(<object>item, tuple) or PyTuple_GET_SIZE(<object>item) != 2:
            raise TypeError
        name = PyTuple_GET_ITEM(<object>item, 0)
        value = PyTuple_GET_ITEM(<object>item, 1)
        if not isinstance(<object>name, str):
            raise TypeError
        header.key.size = 0
        header.key.data = PyUnicode_AsUTF8AndSize(<object>name, &header.key.size)
        if header.key.size > LARGEST_FIELD:
            raise ValueError
        if not view_plain(<object>value, &header.value):
            self.borrow(<object>value, &header.value)
        return 0

    cdef int take(self, object value, object key, object headers) except -1:
        """Borrow the record's bytes; a TypeError or ValueError says only that something is wrong, not what."""
        self.borrow(value, &self.view.value)
        self.borrow(key, &self.view.key)
        if headers is None:
            self.view.header_count = 0
            self.view.headers_size = 1
        else:
            self.take_headers(headers)
        return 0

    cdef int release(self) except -1:
        cdef Py_ssize_t at
        for at in range(self.buffer_count):
            PyBuffer_Release(&self.buffers[at])
        self.buffer_count = 0
        if self.view.headers is not self.inline_headers:
            PyMem_Free(self.view.headers)
            self.view.headers = self.inline_headers
        self.view.header_count = 0
        self.owners = None
        return 0


# The memory of large buffers is kept for the next ones: the system would take it back, and give it out again page by
# page, each at the price of some records.
cdef enum:
    MOST_SPARES = 64
    MOST_SPARE_BYTES = 8 * 1024 * 1024
    SMALLEST_SPARE = 16 * 1024

cdef struct Spare:
    char* data
    Py_ssize_t capacity

cdef Spare[MOST_SPARES] spares
cdef int spare_count = 0
cdef Py_ssize_t spare_bytes = 0


cdef char* take_memory(Py_ssize_t capacity) except NULL:
    cdef int at
    for at in range(spare_count - 1, -1, -1):
        if spares[at].capacity == capacity:
            return take_spare(at)
    cdef char* data
    data = <char*>PyMem_Malloc(capacity)
    if data is NULL:
        raise MemoryError
    return data


cdef char* take_spare(int at) noexcept:
    global spare_count, spare_bytes
    cdef char* data = spares[at].data
    spare_bytes -= spares[at].capacity
    spare_count -= 1
    spares[at] = spares[spare_count]
    return data


cdef void give_memory(char* data, Py_ssize_t capacity) noexcept:
    global spare_count, spare_bytes
    if not SMALLEST_SPARE <= capacity <= MOST_SPARE_BYTES:
        PyMem_Free(data)
        return
    while spare_count == MOST_SPARES or spare_bytes + capacity > MOST_SPARE_BYTES:
        # It may be of a size that nobody asks for any more.
        PyMem_Free(take_spare(0))
    spares[spare_count].data = data
    spares[spare_count].capacity = capacity
    spare_count += 1
    spare_bytes += capacity


cdef class RecordBuffer:
    """The encoded records of one batch, without the batch header; a read-only buffer to Python."""

    def __cinit__(self, Py_ssize_t capacity=0):
        self.data = NULL
        self.used = 0
        self.capacity = 0
        self.exports = 0
        self.count = 0
        self.base_timestamp = -1
        self.max_timestamp = -1
        if capacity > 0:
            self.reserve(capacity)

    def __dealloc__(self):
        give_memory(self.data, self.capacity)

    def __len__(self):
        return self.used

    def __getbuffer__(self, Py_buffer* view, int flags):
        if flags & PyBUF_WRITABLE == PyBUF_WRITABLE:
            raise BufferError("encoded records are read-only")
        PyBuffer_FillInfo(view, self, self.data, self.used, 1, flags)
        self.exports += 1

    def __releasebuffer__(self, Py_buffer* view):
        self.exports -= 1

    cdef int reserve(self, Py_ssize_t capacity) except -1:
        cdef char* grown
        if capacity <= self.capacity:
            return 0
        if self.exports:
            raise BufferError("encoded records cannot grow while a view of them exists")
        if self.data is NULL:
            grown = take_memory(capacity)
        else:
            grown = <char*>PyMem_Realloc(self.data, capacity)
            if grown is NULL:
                raise MemoryError
        self.data = grown
        self.capacity = capacity
        return 0

    def append(self, int64_t timestamp, key, value, headers=None):
        """Encode one record at the end; the buffer grows as needed.

        The producer's own path is the accumulator's; this one serves tools and tests. A field that is
        not bytes-like raises TypeError, one over 2,147,483,647 bytes ValueError; nothing is written then.
        """
        cdef RecordFields fields = RecordFields()
        cdef Py_ssize_t body, needed
        fields.take(value, key, headers)
        try:
            body = record_body_size(&fields.view, timestamp - self.base_timestamp if self.count else 0, self.count)
            needed = self.used + length_size(body) + body
            if needed > self.capacity:
                self.reserve(max(needed, self.capacity * 2))
            write_record(self, &fields.view, timestamp, body)
        finally:
            fields.release()


cdef class RecordCursor:
    """Reads the records of a buffer in turn, and puts them into others: under new offsets, otherwise as they are.

    The buffer may not grow meanwhile.
    """

    def __cinit__(self, RecordBuffer source not None):
        self.source = source
        self.at = source.data
        self.index = 0

    def skip(self, int32_t count):
        """Pass over `count` records."""
        cdef int64_t size = 0
        for _ in range(min(count, self.source.count - self.index)):
            self.at = read_varint(self.at, &size) + size
            self.index += 1

    def move(self, RecordBuffer target not None, int32_t count, Py_ssize_t limit) -> int:
        """Append up to `count` records to `target`, as long as it holds no more than `limit` bytes; return how many.

        The first record of an empty target goes in whatever its size.
        """
        cdef int32_t moved = 0
        cdef int64_t size = 0, delta = 0, offset = 0, timestamp
        cdef const char* body
        cdef const char* rest
        cdef Py_ssize_t rest_size, body_size, needed
        cdef char* into
        while moved < count and self.index < self.source.count:
            body = read_varint(self.at, &size)
            rest = read_varint(read_varint(body + 1, &delta), &offset)
            rest_size = body + size - rest
            timestamp = self.source.base_timestamp + delta
            delta = timestamp - target.base_timestamp if target.count else 0
            body_size = 1 + varint_size(delta) + length_size(target.count) + rest_size
            needed = target.used + length_size(body_size) + body_size
            if needed > limit and target.count:
                break
            if needed > target.capacity:
                target.reserve(max(needed, min(limit, target.capacity * 2)))
            into = begin_record(target, timestamp, body_size)
            memcpy(into, rest, rest_size)
            target.used = into + rest_size - target.data
            target.count += 1
            self.at = body + size
            self.index += 1
            moved += 1
        return moved


def batch_header(
    body,
    *,
    int32_t count,
    int64_t base_timestamp,
    int64_t max_timestamp,
    int attributes=0,
    int64_t producer_id=-1,
    int16_t producer_epoch=-1,
    int32_t base_sequence=-1,
) -> bytes:
    """Return the 61-byte header for `body`, the (compressed) records as they go on the wire, CRC included.

    `attributes` holds the codec's id in bits 0-2 and 0x10 for a transactional batch. The base offset is 0 and the
    partition leader epoch -1, which the broker fills in; neither is under the CRC.
    """
    return stamped_header(
        body, count, base_timestamp, max_timestamp, attributes, producer_id, producer_epoch, base_sequence
    )


cdef bytes stamped_header(
    object body, int32_t count, int64_t base_timestamp, int64_t max_timestamp, int attributes, int64_t producer_id,
    int16_t producer_epoch, int32_t base_sequence,
):
    cdef bytes header = PyBytes_FromStringAndSize(NULL, _HEADER_SIZE)
    cdef unsigned char* at = <unsigned char*>PyBytes_AS_STRING(header)
    cdef Py_ssize_t body_size = len(body)
    store_int64(at, 0)
    store_int32(at + 8, <int32_t>(body_size + _HEADER_SIZE - 12))
    store_int32(at + 12, -1)
    at[16] = 2
    store_uint32(at + 17, 0)
    store_int16(at + 21, <int16_t>attributes)
    store_int32(at + 23, count - 1)
    store_int64(at + 27, base_timestamp)
    store_int64(at + 35, max_timestamp)
    store_int64(at + 43, producer_id)
    store_int16(at + 51, producer_epoch)
    store_int32(at + 53, base_sequence)
    store_int32(at + 57, count)
    cdef uint32_t checksum = crc32c_of(header[_CRC_START:], body)
    store_uint32(at + 17, checksum)
    return header


def next_sequence(int32_t sequence, int32_t increment) -> int:
    """Return the sequence number `increment` records after `sequence`; 2,147,483,647 is followed by 0."""
    if sequence > _MAX_SEQUENCE - increment:
        return increment - (_MAX_SEQUENCE - sequence) - 1
    return sequence + increment
