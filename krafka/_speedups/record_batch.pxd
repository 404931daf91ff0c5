cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int16_t, int32_t, int64_t
from libc.string cimport memcpy

from krafka._speedups.varint cimport length_size, varint_size, write_length, write_varint


cdef struct Field:
    const char* data
    Py_ssize_t size  # -1 is null, which is not the same as empty


cdef struct HeaderField:
    Field key
    Field value


cdef struct RecordView:
    Field key
    Field value
    HeaderField* headers
    Py_ssize_t header_count
    Py_ssize_t headers_size  # as encoded, their count included


cdef enum:
    MAX_HEADERS_INLINE = 8
    LARGEST_FIELD = 2147483647


@cython.final
cdef class RecordFields:
    """One record's bytes, borrowed from their owners for the length of one append."""

    cdef RecordView view
    cdef HeaderField inline_headers[MAX_HEADERS_INLINE]
    cdef Py_buffer* buffers
    cdef Py_ssize_t buffer_count
    cdef Py_ssize_t buffer_capacity
    cdef object owners

    cdef int borrow(self, object source, Field* field) except -1
    cdef int take_headers(self, object headers) except -1
    cdef int take_header(self, PyObject* item, HeaderField* header) except -1
    cdef int take(self, object value, object key, object headers) except -1
    cdef int release(self) except -1


cdef class RecordBuffer:
    cdef char* data
    cdef readonly Py_ssize_t used
    cdef readonly Py_ssize_t capacity
    cdef int exports
    cdef readonly int32_t count
    cdef readonly int64_t base_timestamp
    cdef readonly int64_t max_timestamp

    cdef int reserve(self, Py_ssize_t capacity) except -1


cdef class RecordCursor:
    """Reads one buffer's records in turn, to put them into other buffers."""

    cdef readonly RecordBuffer source
    cdef const char* at
    cdef readonly int32_t index


cdef bytes stamped_header(
    object body, int32_t count, int64_t base_timestamp, int64_t max_timestamp, int attributes, int64_t producer_id,
    int16_t producer_epoch, int32_t base_sequence,
)


# Here, and not in the module, because the append path is to be compiled together with them.

cdef inline bint view_plain(object source, Field* field) noexcept:
    """Borrow from bytes or None, whose owner keeps them; False for anything else."""
    if PyBytes_CheckExact(source):
        field.data = PyBytes_AS_STRING(source)
        field.size = PyBytes_GET_SIZE(source)
        return field.size <= LARGEST_FIELD
    field.data = NULL
    field.size = -1
    return source is None


cdef inline void view_no_key(RecordView* view) noexcept nogil:
    view.key.data = NULL
    view.key.size = -1


cdef inline void view_no_headers(RecordView* view) noexcept nogil:
    view.headers = NULL
    view.header_count = 0
    view.headers_size = 1


cdef inline Py_ssize_t record_body_size(
    const RecordView* view, int64_t timestamp_delta, int32_t offset_delta
) noexcept nogil:
    cdef Py_ssize_t size = 1 + varint_size(timestamp_delta) + length_size(offset_delta)
    size += length_size(view.key.size) + length_size(view.value.size) + view.headers_size
    if view.key.size > 0:
        size += view.key.size
    if view.value.size > 0:
        size += view.value.size
    return size


cdef inline void copy_bytes(char* at, const char* data, Py_ssize_t size) noexcept nogil:
    """Copy what does not overlap; keys and headers are often so short that a call takes longer than that."""
    if size < 8 or size > 32:
        memcpy(at, data, size)
    elif size <= 16:
        memcpy(at, data, 8)
        memcpy(at + size - 8, data + size - 8, 8)
    else:
        memcpy(at, data, 16)
        memcpy(at + size - 16, data + size - 16, 16)


cdef inline char* write_field(char* at, const Field* field) noexcept nogil:
    at = write_length(at, field.size)
    if field.size > 0:
        copy_bytes(at, field.data, field.size)
        at += field.size
    return at


cdef inline char* begin_record(RecordBuffer buffer, int64_t timestamp, Py_ssize_t body_size) noexcept:
    """Write what comes before a record's key, and return where the key goes."""
    cdef char* at = buffer.data + buffer.used
    if buffer.count == 0:
        buffer.base_timestamp = timestamp
        buffer.max_timestamp = timestamp
    elif timestamp > buffer.max_timestamp:
        buffer.max_timestamp = timestamp
    at = write_length(at, body_size)
    at[0] = 0
    at = write_varint(at + 1, timestamp - buffer.base_timestamp)
    return write_length(at, buffer.count)


cdef inline void write_record(
    RecordBuffer buffer, const RecordView* view, int64_t timestamp, Py_ssize_t body_size
) noexcept:
    """Append one record; the caller has reserved the room and computed body_size for this timestamp."""
    cdef char* at = begin_record(buffer, timestamp, body_size)
    cdef Py_ssize_t index
    at = write_field(at, &view.key)
    at = write_field(at, &view.value)
    at = write_length(at, view.header_count)
    for index in range(view.header_count):
        at = write_field(at, &view.headers[index].key)
        at = write_field(at, &view.headers[index].value)
    buffer.used = at - buffer.data
    buffer.count += 1
