"""Kafka messages out of bytes: every length is checked against what is left before anything is allocated."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_Clear
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE, PyList_New, PyList_SET_ITEM
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.string cimport memcpy

from krafka._speedups.wire_plan cimport (
    DEFAULT_LIST,
    DEFAULT_SHARED,
    KIND_BOOL,
    KIND_FLOAT64,
    KIND_INT8,
    KIND_INT16,
    KIND_INT32,
    KIND_INT64,
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

from krafka.errors import ProtocolError

cdef extern from "Python.h":
    object PyType_GenericAlloc(PyTypeObject* type, Py_ssize_t items)
    # As a plain pointer: failure is looked at by hand, so that success pays for no exception handling.
    PyObject* PyUnicode_DecodeUTF8(const char* data, Py_ssize_t size, const char* errors)

ctypedef unsigned char byte

cdef struct Cursor:
    const byte* data
    Py_ssize_t position
    Py_ssize_t end
    Trail* trail  # NULL in the header
    PyObject* label  # a borrowed str: the message and its version

cdef Py_ssize_t MAX_STRING = 0x7FFF  # Kafka's limit in every version, though compact lengths could say more
cdef int API_VERSIONS = 18  # its response header never has tagged fields, so any client can read it (KIP-511)


cdef inline unsigned int load16(const byte* at) noexcept nogil:
    return (<unsigned int> at[0] << 8) | at[1]


cdef inline unsigned int load32(const byte* at) noexcept nogil:
    return (<unsigned int> at[0] << 24) | (<unsigned int> at[1] << 16) | (<unsigned int> at[2] << 8) | at[3]


cdef inline unsigned long long load64(const byte* at) noexcept nogil:
    return (<unsigned long long> load32(at) << 32) | load32(at + 4)


cdef inline void put_slot(object struct, FieldPlan field, object value) noexcept:
    cdef PyObject** place = slot_of(struct, field)
    cdef PyObject* former = place[0]
    Py_INCREF(value)
    place[0] = <PyObject*> value
    Py_XDECREF(former)


cdef int malformed(Cursor* cursor, str detail) except -1:
    raise ProtocolError(f"{<object> cursor.label}: {trail_path(cursor.trail)} {detail}")


cdef int cut_short(Cursor* cursor, Py_ssize_t needed) except -1:
    left = cursor.end - cursor.position
    malformed(cursor, f"needs {needed} bytes, {left} are left at offset {cursor.position}")


cdef inline const byte* take(Cursor* cursor, Py_ssize_t size) except NULL:
    cdef const byte* at = cursor.data + cursor.position
    if size > cursor.end - cursor.position:
        cut_short(cursor, size)
    cursor.position += size
    return at


cdef long long read_uvarint(Cursor* cursor) except -1:
    cdef unsigned long long value = 0
    cdef int shift = 0
    cdef byte part
    while shift < 35:
        part = take(cursor, 1)[0]
        value |= <unsigned long long> (part & 0x7F) << shift
        if part < 0x80:
            if value > 0xFFFFFFFF:
                break
            return <long long> value
        shift += 7
    malformed(cursor, f"is or has an unsigned varint of more than 32 bits before offset {cursor.position}")


cdef Py_ssize_t read_length(FieldPlan field, Cursor* cursor, bint short_prefix) except -2:
    """A length or a count as sent, -1 for null; what a plain prefix cannot mean is refused here."""
    cdef long long length
    if field.flexible:
        length = read_uvarint(cursor) - 1
    elif short_prefix:
        length = <short> load16(take(cursor, 2))
    else:
        length = <int> load32(take(cursor, 4))
    if length < -1:
        malformed(cursor, f"has the length {length} before offset {cursor.position}")
    if length == -1 and not field.nullable:
        malformed(cursor, f"is null before offset {cursor.position}, which this version does not allow")
    return <Py_ssize_t> length


cdef object read_string(Cursor* cursor, Py_ssize_t length):
    cdef const char* at
    cdef PyObject* text
    if length > MAX_STRING:
        malformed(cursor, f"is a string of {length} bytes, longer than Kafka's {MAX_STRING}")
    if length == 0:
        return ""
    at = <const char*> take(cursor, length)
    text = PyUnicode_DecodeUTF8(at, length, NULL)
    if text == NULL:
        PyErr_Clear()
        try:
            return at[:length].decode("utf-8")
        except UnicodeDecodeError as error:
            start = cursor.position - length
            detail = f"{trail_path(cursor.trail)} at offset {start} is not UTF-8"
            raise ProtocolError(f"{<object> cursor.label}: {detail}") from error
    result = <object> text
    Py_XDECREF(text)
    return result


cdef object read_sized(FieldPlan field, Cursor* cursor):
    """A string, bytes or records; bytes are copied, as the frame's memory is the reader's to reuse."""
    cdef bint is_string = field.kind == KIND_STRING
    cdef Py_ssize_t length = read_length(field, cursor, is_string)
    if length < 0:
        return None
    if is_string:
        return read_string(cursor, length)
    if length == 0:
        return b""
    return PyBytes_FromStringAndSize(<const char*> take(cursor, length), length)


cdef object read_item(FieldPlan field, Cursor* cursor):
    cdef unsigned long long bits
    cdef double number
    if field.kind == KIND_INT32:
        return <int> load32(take(cursor, 4))
    elif field.kind == KIND_STRUCT:
        if field.nullable and not field.array and take(cursor, 1)[0] >= 0x80:
            return None
        return read_struct(field.plan, cursor)
    elif field.kind == KIND_INT16:
        return <short> load16(take(cursor, 2))
    elif field.kind == KIND_INT64:
        return <long long> load64(take(cursor, 8))
    elif field.kind == KIND_BOOL:
        return take(cursor, 1)[0] != 0
    elif field.kind == KIND_INT8:
        return <signed char> take(cursor, 1)[0]
    elif field.kind == KIND_UINT16:
        return load16(take(cursor, 2))
    elif field.kind == KIND_UINT32:
        return load32(take(cursor, 4))
    elif field.kind == KIND_UUID:
        return PyBytes_FromStringAndSize(<const char*> take(cursor, 16), 16)
    elif field.kind == KIND_FLOAT64:
        bits = load64(take(cursor, 8))
        memcpy(&number, &bits, 8)
        return number
    return read_sized(field, cursor)


cdef object read_array(FieldPlan field, Cursor* cursor):
    cdef Py_ssize_t count = read_length(field, cursor, False)
    cdef Py_ssize_t index
    cdef const byte* at
    cdef Trail* trail = cursor.trail
    if count < 0:
        return None
    if count > (cursor.end - cursor.position) // field.item_size:
        left = cursor.end - cursor.position
        malformed(
            cursor,
            f"announces {count} elements of at least {field.item_size} bytes each, "
            f"{left} bytes are left at offset {cursor.position}",
        )
    values = PyList_New(count)
    if field.kind == KIND_INT32:
        at = take(cursor, 4 * count)
        for index in range(count):
            value = <int> load32(at + 4 * index)
            Py_INCREF(value)
            PyList_SET_ITEM(values, index, value)
        return values
    for index in range(count):
        trail.index = index
        value = read_item(field, cursor)
        Py_INCREF(value)
        PyList_SET_ITEM(values, index, value)
    trail.index = -1
    return values


cdef inline object read_field(FieldPlan field, Cursor* cursor):
    return read_array(field, cursor) if field.array else read_item(field, cursor)


cdef object read_struct(StructPlan plan, Cursor* cursor):
    cdef object struct = PyType_GenericAlloc(plan.type, 0)
    cdef FieldPlan field
    cdef Py_ssize_t index
    cdef Trail trail
    trail.outer = cursor.trail
    trail.index = -1
    cursor.trail = &trail
    for index in range(PyList_GET_SIZE(plan.present)):
        field = <FieldPlan> PyList_GET_ITEM(plan.present, index)
        trail.field = <PyObject*> field
        put_slot(struct, field, read_field(field, cursor))
    if plan.flexible:
        trail.field = NULL
        read_tagged(plan, struct, cursor)
    for index in range(PyList_GET_SIZE(plan.absent)):
        field = <FieldPlan> PyList_GET_ITEM(plan.absent, index)
        put_slot(struct, field, new_default(field))
    cursor.trail = trail.outer
    return struct


cdef int read_tagged(StructPlan plan, object struct, Cursor* cursor) except -1:
    """Tagged fields in any order; unknown ones are skipped (KIP-482)."""
    cdef long long count = read_uvarint(cursor)
    cdef long long tag, size
    cdef Py_ssize_t index
    cdef Py_ssize_t end = cursor.end
    cdef FieldPlan field
    if count > (end - cursor.position) // 2:
        left = end - cursor.position
        malformed(cursor, f"announces {count} of them, {left} bytes are left at offset {cursor.position}")
    for _ in range(count):
        tag = read_uvarint(cursor)
        size = read_uvarint(cursor)
        if size > end - cursor.position:
            left = end - cursor.position
            malformed(cursor, f"tag {tag} needs {size} bytes, {left} are left at offset {cursor.position}")
        for index in range(PyList_GET_SIZE(plan.tagged)):
            field = <FieldPlan> PyList_GET_ITEM(plan.tagged, index)
            if field.tag == tag:
                cursor.trail.field = <PyObject*> field
                cursor.end = cursor.position + size
                put_slot(struct, field, read_field(field, cursor))
                if cursor.position != cursor.end:
                    malformed(cursor, f"leaves {cursor.end - cursor.position} of its {size} bytes unread")
                cursor.trail.field = NULL
                cursor.end = end
                break
        else:
            cursor.position += size
    for index in range(PyList_GET_SIZE(plan.tagged)):
        field = <FieldPlan> PyList_GET_ITEM(plan.tagged, index)
        if slot_of(struct, field)[0] == NULL:
            put_slot(struct, field, new_default(field))
    return 0


cdef object new_default(FieldPlan field):
    if field.default_kind == DEFAULT_SHARED:
        return field.default
    if field.default_kind == DEFAULT_LIST:
        return []
    return new_struct(field.plan)


cdef object new_struct(StructPlan plan):
    """An instance that holds its defaults, without the cost of its Python constructor."""
    cdef object struct = PyType_GenericAlloc(plan.type, 0)
    cdef FieldPlan field
    for group in (plan.present, plan.tagged, plan.absent):
        for field in group:
            put_slot(struct, field, new_default(field))
    return struct


cdef int skip_tagged(Cursor* cursor) except -1:
    cdef long long count = read_uvarint(cursor)
    if count > (cursor.end - cursor.position) // 2:
        cut_short(cursor, 2 * count)
    for _ in range(count):
        read_uvarint(cursor)
        take(cursor, read_uvarint(cursor))
    return 0


cdef int open_cursor(Cursor* cursor, Py_buffer* view, object frame, StructPlan plan) except -1:
    PyObject_GetBuffer(frame, view, PyBUF_SIMPLE)
    cursor.data = <const byte*> view.buf
    cursor.position = 0
    cursor.end = view.len
    cursor.trail = NULL
    cursor.label = <PyObject*> plan.label
    return 0


cdef object read_whole(StructPlan plan, Cursor* cursor):
    message = read_struct(plan, cursor)
    if cursor.position != cursor.end:
        raise ProtocolError(
            f"{plan.label}: {cursor.end - cursor.position} bytes are left over after the message, "
            f"which ends at offset {cursor.position}"
        )
    return message


def peek_request(frame):
    """The api key, the version and the correlation id at the start of a request frame."""
    cdef Py_buffer view
    cdef const byte* at
    PyObject_GetBuffer(frame, &view, PyBUF_SIMPLE)
    try:
        if view.len < 8:
            raise ProtocolError(f"a request frame of {view.len} bytes has no room for its header")
        at = <const byte*> view.buf
        return <short> load16(at), <short> load16(at + 2), <int> load32(at + 4)
    finally:
        PyBuffer_Release(&view)


def int32_at(buffer, Py_ssize_t offset):
    """The signed number in the four bytes of `buffer` from `offset` on."""
    cdef Py_buffer view
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    try:
        if not 0 <= offset <= view.len - 4:
            raise ValueError(f"offset {offset} leaves no four bytes of {view.len}")
        return <int> load32(<const byte*> view.buf + offset)
    finally:
        PyBuffer_Release(&view)


def response_correlation_id(frame):
    """The correlation id at the start of a response frame."""
    cdef Py_buffer view
    PyObject_GetBuffer(frame, &view, PyBUF_SIMPLE)
    try:
        if view.len < 4:
            raise ProtocolError(f"a response frame of {view.len} bytes has no room for its correlation id")
        return <int> load32(<const byte*> view.buf)
    finally:
        PyBuffer_Release(&view)


def decode_message(cls, int version, frame, Py_ssize_t offset=0):
    """The message of class `cls` that fills `frame` from `offset` to its end."""
    cdef StructPlan plan = plan_for(cls, version)
    cdef Cursor cursor
    cdef Py_buffer view
    open_cursor(&cursor, &view, frame, plan)
    try:
        if not 0 <= offset <= cursor.end:
            raise ValueError(f"offset {offset} is outside a frame of {cursor.end} bytes")
        cursor.position = offset
        return read_whole(plan, &cursor)
    finally:
        PyBuffer_Release(&view)


def decode_response(cls, int version, frame):
    """The response in `frame`: a header, whose correlation id the caller has looked at, and the message."""
    cdef StructPlan plan = plan_for(cls, version)
    cdef Cursor cursor
    cdef Py_buffer view
    open_cursor(&cursor, &view, frame, plan)
    try:
        take(&cursor, 4)
        if plan.flexible and plan.api_key != API_VERSIONS:
            skip_tagged(&cursor)
        return read_whole(plan, &cursor)
    finally:
        PyBuffer_Release(&view)


def decode_request(cls, int version, frame):
    """The client id and the request in `frame`, whose first eight bytes the caller has looked at."""
    cdef StructPlan plan = plan_for(cls, version)
    cdef Cursor cursor
    cdef Py_buffer view
    cdef Py_ssize_t length
    open_cursor(&cursor, &view, frame, plan)
    try:
        take(&cursor, 8)
        length = <short> load16(take(&cursor, 2))
        if length < -1:
            malformed(&cursor, f"has a client id of length {length}")
        client_id = None if length < 0 else read_string(&cursor, length)
        if plan.flexible:
            skip_tagged(&cursor)
        return client_id, read_whole(plan, &cursor)
    finally:
        PyBuffer_Release(&view)
