from libc.stdint cimport int16_t, int32_t, int64_t


cdef struct Field:
    const char* data
    Py_ssize_t size  # -1 is null, which is not the same as empty


cdef struct HeaderField:
    Field key
    Field value


cdef enum:
    MAX_HEADERS_INLINE = 8


cdef class RecordFields:
    """One record's bytes, borrowed from their owners for the length of one append."""

    cdef Field key
    cdef Field value
    cdef HeaderField* headers
    cdef Py_ssize_t header_count
    cdef Py_ssize_t headers_size
    cdef HeaderField inline_headers[MAX_HEADERS_INLINE]
    cdef Py_buffer* views
    cdef Py_ssize_t view_count
    cdef Py_ssize_t view_capacity
    cdef object owners

    cdef int borrow(self, object source, Field* field) except -1
    cdef int take_headers(self, object headers) except -1
    cdef int take(self, object value, object key, object headers) except -1
    cdef int release(self) except -1


cdef Py_ssize_t record_body_size(
    RecordFields fields, int64_t timestamp_delta, int32_t offset_delta
) noexcept nogil

cdef class RecordBuffer:
    cdef char* data
    cdef readonly Py_ssize_t used
    cdef readonly Py_ssize_t capacity
    cdef int exports
    cdef readonly int32_t count
    cdef readonly int64_t base_timestamp
    cdef readonly int64_t max_timestamp

    cdef int reserve(self, Py_ssize_t capacity) except -1
    cdef char* begin(self, int64_t timestamp, Py_ssize_t body_size) noexcept
    cdef void write(self, RecordFields fields, int64_t timestamp, Py_ssize_t body_size) noexcept


cdef class RecordCursor:
    """Reads one buffer's records in turn, to put them into other buffers."""

    cdef readonly RecordBuffer source
    cdef const char* at
    cdef readonly int32_t index
