from krafka._speedups.append cimport Appender


cdef class BufferMemory:
    cdef Appender _appender
    cdef object _serve_soon
    cdef Py_ssize_t _enough
    cdef bint _asked
    cdef object _line

    cpdef release(self, Py_ssize_t size)
    cpdef serve(self)
