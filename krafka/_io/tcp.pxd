cimport cython


@cython.locals(at=Py_ssize_t)
cdef list _after(list parts, Py_ssize_t sent)
