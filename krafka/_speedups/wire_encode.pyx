"""Kafka messages into bytes: a list of parts, in which large buffers are referred to, never copied."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_Clear
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.long cimport PyLong_Check
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.object cimport PyObject, PyTypeObject
from cpython.unicode cimport PyUnicode_Check
from libc.stdint cimport INT64_MAX, INT64_MIN
from libc.string cimport memcpy, memmove

from krafka._speedups.endian cimport store_int16, store_int32, store_int64
from krafka._speedups.wire_plan cimport (
    DEFAULT_LIST,
    KIND_BOOL,
    KIND_BYTES,
    KIND_FLOAT64,
    KIND_INT8,
    KIND_INT16,
    KIND_INT32,
    KIND_INT64,
    KIND_RECORDS,
    KIND_STRING,
    KIND_STRUCT,
    KIND_UINT16,
    KIND_UINT32,
    KIND_UUID,
    FieldPlan,
    StructPlan,
    Trail,
    plan_for,
    slot_of,
    trail_path,
)

from krafka._speedups.wire_decode import int32_at

cdef extern from "Python.h":
    bint PyObject_TypeCheck(object value, PyTypeObject* type)
    long long PyLong_AsLongLongAndOverflow(object value, int* overflow) except? -1
    # As a plain pointer: failure is looked at by hand, so that success pays for no exception handling.
    const char* PyUnicode_AsUTF8AndSize(PyObject* text, Py_ssize_t* size)

ctypedef unsigned char byte

cdef Py_ssize_t MAX_STRING = 0x7FFF  # Kafka's limit in every version, though compact lengths could say more
cdef Py_ssize_t MAX_FRAME = 0x7FFFFFFF
cdef Py_ssize_t REFERENCE_FROM = 1024  # copying a shorter buffer costs less than one more part to send
cdef int API_VERSIONS = 18  # its response header never has tagged fields, so any client can read it (KIP-511)


@cython.final
@cython.freelist(8)
cdef class Writer:
    """A frame in the making: one growing buffer, and the places where larger buffers belong in between."""

    cdef byte* data
    cdef Py_ssize_t size
    cdef Py_ssize_t capacity
    cdef Py_ssize_t referenced  # bytes in `buffers`
    cdef list cuts
    cdef list buffers
    cdef bint copies_all  # within a tagged field, whose size is put in front of it afterwards
    cdef Trail* trail
    cdef str label
    cdef byte local[1024]

    def __cinit__(self):
        self.data = self.local
        self.capacity = sizeof(self.local)

    def __dealloc__(self):
        if self.data != self.local:
            PyMem_Free(self.data)

    cdef int grow(self, Py_ssize_t count) except -1:
        cdef Py_ssize_t capacity = max(2 * self.capacity, self.size + count)
        cdef byte* data
        if self.data == self.local:
            data = <byte*> PyMem_Malloc(capacity)
            if data != NULL:
                memcpy(data, self.local, self.size)
        else:
            data = <byte*> PyMem_Realloc(self.data, capacity)
        if data == NULL:
            raise MemoryError
        self.data = data
        self.capacity = capacity
        return 0

    cdef inline byte* extend(self, Py_ssize_t count) except NULL:
        """`count` more bytes, for the caller to fill."""
        cdef byte* at
        if count > self.capacity - self.size:
            self.grow(count)
        at = self.data + self.size
        self.size += count
        return at

    cdef int put_uvarint(self, unsigned int value) except -1:
        cdef byte* at = self.extend(5)
        cdef int size = 0
        while value >= 0x80:
            at[size] = <byte> (value | 0x80)
            value >>= 7
            size += 1
        at[size] = <byte> value
        self.size -= 4 - size
        return 0

    cdef int put_buffer(self, object buffer) except -1:
        cdef Py_buffer view
        if PyBytes_CheckExact(buffer):
            return self.put_bytes(buffer, PyBytes_AS_STRING(buffer), PyBytes_GET_SIZE(buffer))
        PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
        try:
            # What is sent in the end is a flat buffer of bytes, whatever the caller's view says of itself.
            flat = buffer if isinstance(buffer, bytearray) else memoryview(buffer).cast("B")
            return self.put_bytes(flat, <const char*> view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    cdef int put_bytes(self, object buffer, const char* data, Py_ssize_t size) except -1:
        if size < REFERENCE_FROM or self.copies_all:
            if size:
                memcpy(self.extend(size), data, size)
            return 0
        if self.cuts is None:
            self.cuts, self.buffers = [], []
        self.cuts.append(self.size)
        self.buffers.append(buffer)
        self.referenced += size
        return 0

    cdef list parts(self):
        cdef Py_ssize_t start = 0
        cdef Py_ssize_t cut, index
        cdef list parts = []
        if self.cuts is not None:
            for index in range(PyList_GET_SIZE(self.cuts)):
                cut = self.cuts[index]
                if cut > start:
                    parts.append(PyBytes_FromStringAndSize(<char*> self.data + start, cut - start))
                    start = cut
                parts.append(self.buffers[index])
        if self.size > start:
            parts.append(PyBytes_FromStringAndSize(<char*> self.data + start, self.size - start))
        return parts

    cdef list framed_parts(self):
        """The parts of a frame whose first four bytes were left free for its size."""
        cdef Py_ssize_t size = self.size + self.referenced - 4
        if size > MAX_FRAME:
            raise ValueError(f"{self.label}: a frame of {size} bytes is over the protocol's {MAX_FRAME}")
        store_int32(self.data, <int> size)
        return self.parts()


cdef int refuse(Writer out, str detail, kind=ValueError) except -1:
    raise kind(f"{out.label}: {trail_path(out.trail)} {detail}")


cdef int refuse_type(Writer out, object value, str wanted) except -1:
    return refuse(out, f"must be {wanted}, not {type(value).__name__}", TypeError)


cdef long long integer(object value, long long low, long long high, Writer out) except? -1:
    cdef int overflow = 0
    cdef long long number
    if not PyLong_Check(value):
        refuse_type(out, value, "an int")
    number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow or number < low or number > high:
        refuse(out, f"is {value}, outside {low} to {high}")
    return number


cdef int write_length(FieldPlan field, Py_ssize_t length, bint short_prefix, Writer out) except -1:
    """The prefix of `length` bytes or elements; -1 stands for null."""
    if length < 0 and not field.nullable:
        refuse(out, "is None, which this version does not allow")
    if length >= MAX_FRAME:
        refuse(out, f"has the length {length}, over the protocol's {MAX_FRAME}")
    if field.flexible:
        out.put_uvarint(<unsigned int> (length + 1))
    elif short_prefix:
        store_int16(out.extend(2), <short> length)
    else:
        store_int32(out.extend(4), <int> length)
    return 0


cdef int write_string(FieldPlan field, object value, Writer out) except -1:
    cdef Py_ssize_t length = 0
    cdef const char* text
    if value is None:
        return write_length(field, -1, True, out)
    if not PyUnicode_Check(value):
        refuse_type(out, value, "a str")
    text = PyUnicode_AsUTF8AndSize(<PyObject*> value, &length)
    if text == NULL:
        PyErr_Clear()
        refuse(out, "has a lone surrogate, which UTF-8 cannot hold")
    if length > MAX_STRING:
        refuse(out, f"is a string of {length} bytes, longer than Kafka's {MAX_STRING}")
    write_length(field, length, True, out)
    if length:
        memcpy(out.extend(length), text, length)
    return 0


cdef Py_ssize_t buffer_size(object buffer, Writer out) except -1:
    cdef Py_buffer view
    if PyBytes_CheckExact(buffer):
        return PyBytes_GET_SIZE(buffer)
    try:
        PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    except (TypeError, BufferError) as error:
        kind = type(buffer).__name__
        raise TypeError(f"{out.label}: {trail_path(out.trail)} needs contiguous bytes, not {kind}") from error
    size = view.len
    PyBuffer_Release(&view)
    return size


cdef int write_bytes(FieldPlan field, object value, Writer out) except -1:
    cdef Py_ssize_t length = 0
    cdef Py_ssize_t before
    if value is None:
        return write_length(field, -1, False, out)
    if field.kind == KIND_RECORDS and isinstance(value, (list, tuple)):
        for buffer in value:
            length += buffer_size(buffer, out)
        write_length(field, length, False, out)
        before = out.size + out.referenced
        for buffer in value:
            out.put_buffer(buffer)
    else:
        length = buffer_size(value, out)
        write_length(field, length, False, out)
        before = out.size + out.referenced
        out.put_buffer(value)
    if out.size + out.referenced != before + length:
        refuse(out, "changed its size while it was being encoded", RuntimeError)
    return 0


cdef int write_uuid(object value, Writer out) except -1:
    if not PyBytes_CheckExact(value) or PyBytes_GET_SIZE(value) != 16:
        refuse(out, f"must be a UUID's 16 bytes, not {value!r}")
    memcpy(out.extend(16), PyBytes_AS_STRING(value), 16)
    return 0


cdef int write_float64(object value, Writer out) except -1:
    cdef double number
    cdef long long bits
    if not isinstance(value, (float, int)):
        refuse_type(out, value, "a float")
    number = value
    memcpy(&bits, &number, 8)
    store_int64(out.extend(8), bits)
    return 0


cdef int write_item(FieldPlan field, object value, Writer out) except -1:
    if field.kind == KIND_INT32:
        store_int32(out.extend(4), <int> integer(value, -0x80000000LL, 0x7FFFFFFF, out))
    elif field.kind == KIND_STRUCT:
        if field.nullable and not field.array:
            out.extend(1)[0] = 0xFF if value is None else 1
            if value is None:
                return 0
        write_struct(field.plan, value, out)
    elif field.kind == KIND_STRING:
        write_string(field, value, out)
    elif field.kind == KIND_RECORDS or field.kind == KIND_BYTES:
        write_bytes(field, value, out)
    elif field.kind == KIND_INT16:
        store_int16(out.extend(2), <short> integer(value, -0x8000, 0x7FFF, out))
    elif field.kind == KIND_INT64:
        store_int64(out.extend(8), integer(value, INT64_MIN, INT64_MAX, out))
    elif field.kind == KIND_BOOL:
        if value is not True and value is not False:
            refuse_type(out, value, "a bool")
        out.extend(1)[0] = value is True
    elif field.kind == KIND_INT8:
        out.extend(1)[0] = <byte> integer(value, -0x80, 0x7F, out)
    elif field.kind == KIND_UINT16:
        store_int16(out.extend(2), <short> integer(value, 0, 0xFFFF, out))
    elif field.kind == KIND_UINT32:
        store_int32(out.extend(4), <int> integer(value, 0, 0xFFFFFFFF, out))
    elif field.kind == KIND_UUID:
        write_uuid(value, out)
    elif field.kind == KIND_FLOAT64:
        write_float64(value, out)
    return 0


cdef int write_array(FieldPlan field, object value, Writer out) except -1:
    cdef Trail* trail = out.trail
    cdef Py_ssize_t index
    if value is None:
        return write_length(field, -1, False, out)
    if not isinstance(value, (list, tuple)):
        refuse_type(out, value, "a list or a tuple")
    write_length(field, len(value), False, out)
    trail.index = 0
    for item in value:
        write_item(field, item, out)
        trail.index += 1
    index, trail.index = trail.index, -1
    if index != len(value):
        refuse(out, "changed its length while it was being encoded", RuntimeError)
    return 0


cdef inline int write_field(FieldPlan field, object struct, Writer out) except -1:
    cdef object value = value_of(field, struct, out)
    return write_array(field, value, out) if field.array else write_item(field, value, out)


cdef inline object value_of(FieldPlan field, object struct, Writer out):
    cdef PyObject* value = slot_of(struct, field)[0]
    out.trail.field = <PyObject*> field
    if value == NULL:
        refuse(out, "was deleted", AttributeError)
    return <object> value


cdef int write_struct(StructPlan plan, object struct, Writer out) except -1:
    cdef FieldPlan field
    cdef Py_ssize_t index
    cdef Trail trail
    if not PyObject_TypeCheck(struct, plan.type):
        refuse_type(out, struct, plan.cls.__name__)
    trail.outer = out.trail
    trail.index = -1
    out.trail = &trail
    for index in range(PyList_GET_SIZE(plan.refused)):
        field = <FieldPlan> PyList_GET_ITEM(plan.refused, index)
        if not is_default(field, value_of(field, struct, out)):
            refuse(out, "is set, but this version has no such field and the other side would not learn of it")
    for index in range(PyList_GET_SIZE(plan.present)):
        write_field(<FieldPlan> PyList_GET_ITEM(plan.present, index), struct, out)
    if plan.flexible:
        write_tagged(plan, struct, out)
    out.trail = trail.outer
    return 0


cdef bint is_default(FieldPlan field, object value) except -1:
    if value is field.default:
        return True
    if field.default_kind == DEFAULT_LIST:
        return isinstance(value, (list, tuple)) and len(value) == 0
    return value == field.default


cdef int write_tagged(StructPlan plan, object struct, Writer out) except -1:
    cdef Py_ssize_t count_at = out.size
    cdef Py_ssize_t start
    cdef byte count = 0
    cdef bint copied_all = out.copies_all
    cdef FieldPlan field
    out.extend(1)[0] = 0
    out.copies_all = True
    for index in range(PyList_GET_SIZE(plan.tagged)):
        field = <FieldPlan> PyList_GET_ITEM(plan.tagged, index)
        if is_default(field, value_of(field, struct, out)):
            continue
        count += 1
        out.put_uvarint(field.tag)
        start = out.size
        write_field(field, struct, out)
        put_size_before(start, out)
    out.data[count_at] = count
    out.copies_all = copied_all
    return 0


cdef int put_size_before(Py_ssize_t start, Writer out) except -1:
    """Moves what was written since `start` aside for its own size."""
    cdef Py_ssize_t size = out.size - start
    cdef Py_ssize_t prefix
    out.put_uvarint(<unsigned int> size)
    prefix = out.size - start - size
    cdef byte[5] saved
    memcpy(saved, out.data + start + size, prefix)
    memmove(out.data + start + prefix, out.data + start, size)
    memcpy(out.data + start, saved, prefix)
    return 0


cdef Writer open_writer(StructPlan plan):
    cdef Writer out = Writer.__new__(Writer)
    out.label = plan.label
    return out


def encode_message(message, int version):
    """The message alone, without size or header, as the list of its parts."""
    cdef StructPlan plan = plan_for(type(message), version)
    cdef Writer out = open_writer(plan)
    write_struct(plan, message, out)
    return out.parts()


def encode_request(message, int version, int correlation_id, str client_id=None):
    """A whole request frame, its size first, as the list of its parts."""
    cdef StructPlan plan = plan_for(type(message), version)
    cdef Writer out = open_writer(plan)
    cdef byte* at = out.extend(12)
    store_int16(at + 4, <short> plan.api_key)
    store_int16(at + 6, <short> version)
    store_int32(at + 8, correlation_id)
    write_client_id(client_id, out)
    if plan.flexible:
        out.extend(1)[0] = 0
    write_struct(plan, message, out)
    return out.framed_parts()


cdef int write_client_id(str client_id, Writer out) except -1:
    """With a plain length in every version, so that any broker can read any ApiVersions request (KIP-511)."""
    cdef bytes text
    if client_id is None:
        store_int16(out.extend(2), -1)
        return 0
    text = client_id.encode()
    if len(text) > MAX_STRING:
        refuse(out, f"has a client id of {len(text)} bytes, longer than Kafka's {MAX_STRING}")
    store_int16(out.extend(2), <short> len(text))
    memcpy(out.extend(len(text)), PyBytes_AS_STRING(text), len(text))
    return 0


def frame_length(list parts not None):
    """The bytes in a frame that `encode_request` or `encode_response` made, its four-byte size included."""
    return 4 + int32_at(parts[0], 0)


def encode_response(message, int version, int correlation_id):
    """A whole response frame, its size first, as the list of its parts."""
    cdef StructPlan plan = plan_for(type(message), version)
    cdef Writer out = open_writer(plan)
    store_int32(out.extend(8) + 4, correlation_id)
    if plan.flexible and plan.api_key != API_VERSIONS:
        out.extend(1)[0] = 0
    write_struct(plan, message, out)
    return out.framed_parts()
