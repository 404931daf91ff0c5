from cpython.object cimport PyObject


cdef extern from "Python.h":
    PyObject** PySequence_Fast_ITEMS(object list_or_tuple)


cdef class ListedValues:
    cdef object source
    cdef Py_ssize_t at

    cdef Py_ssize_t left(self) except? -1
    cdef PyObject** items(self) noexcept
