"""How a struct travels in one version, with everything looked up: what the wire codec walks through."""

from cpython.object cimport PyObject, PyTypeObject

cdef enum Kind:
    KIND_BOOL
    KIND_INT8
    KIND_INT16
    KIND_UINT16
    KIND_INT32
    KIND_UINT32
    KIND_INT64
    KIND_FLOAT64
    KIND_UUID
    KIND_STRING
    KIND_BYTES
    KIND_RECORDS
    KIND_STRUCT


cdef enum DefaultKind:
    DEFAULT_SHARED  # an immutable object that every message may hold
    DEFAULT_LIST
    DEFAULT_STRUCT


cdef class StructPlan:
    """One struct in one version."""

    cdef object cls
    cdef PyTypeObject* type  # `cls` once more, for calls that take it so
    cdef str label
    cdef int api_key
    cdef int version
    cdef bint flexible
    cdef Py_ssize_t min_size
    cdef list present  # fields in wire order
    cdef list tagged  # by rising tag
    cdef list absent  # the version lacks them: decoding gives the default
    cdef list refused  # those of `absent` that must hold their default when encoding


cdef class FieldPlan:
    """One field in one version."""

    cdef Kind kind
    cdef DefaultKind default_kind
    cdef bint array
    cdef bint nullable
    cdef bint flexible
    cdef bint ignorable
    cdef unsigned int tag
    cdef Py_ssize_t offset
    cdef Py_ssize_t item_size  # the least that one value, or one element of the array, takes
    cdef str name
    cdef object default
    cdef StructPlan plan


cdef struct Trail:
    # Where in the message the codec is, for the text of an error: one link per nested struct, on the C stack.
    Trail* outer
    PyObject* field  # a borrowed FieldPlan; NULL among the tagged fields
    Py_ssize_t index  # of the array element, -1 outside an array


cdef StructPlan plan_for(object cls, int version)

cdef str trail_path(Trail* trail)


cdef inline PyObject** slot_of(object struct, FieldPlan field) noexcept:
    """The field's slot in an instance of its class; NULL in it means deleted, or not set yet."""
    return <PyObject**> (<char*> <PyObject*> struct + field.offset)
