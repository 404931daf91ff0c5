cimport cython

from krafka._state.pipeline cimport RequestPipeline


cdef class RequestWriter:
    cdef object _stream
    cdef object _tcp
    cdef RequestPipeline _pipeline
    cdef object _wrote
    cdef object _broke
    cdef bint _busy
    cdef list _rest
    cdef Py_ssize_t _rest_size
    cdef int _rest_requests
    cdef object _has_rest

    @cython.locals(parts=list, size=Py_ssize_t, requests=int)
    cpdef push(self)
