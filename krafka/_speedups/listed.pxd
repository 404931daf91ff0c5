from cpython.object cimport PyObject


cdef class ListedValues:
    cdef object source
    cdef Py_ssize_t at

    cdef Py_ssize_t left(self) except? -1
    cdef PyObject** items(self) noexcept
