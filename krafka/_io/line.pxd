cimport cython

from krafka._io.writer cimport RequestWriter
from krafka._state.framing cimport FrameReader
from krafka._state.pipeline cimport PendingRequest, RequestPipeline


cdef class RequestLine:
    cdef readonly object address
    cdef public object node_id
    cdef public object close_reason
    cdef public object versions
    cdef public double throttled_until
    cdef public double last_used
    cdef public long long requests_sent
    cdef public long long bytes_sent
    cdef public long long bytes_received
    cdef readonly object _client_id
    cdef double _max_idle
    cdef readonly object _clock
    cdef object _crashed
    cdef readonly FrameReader _frames
    cdef readonly RequestPipeline _pipeline
    cdef readonly RequestWriter _writer
    cdef public double _wakes_at
    cdef public object _rearm

    cpdef bint is_usable_at(self, object now) except -1

    @cython.locals(deadline=double, pending=PendingRequest)
    cpdef put(
        self,
        object request,
        int version,
        object on_response,
        bint expects_response,
        double timeout,
        double now,
        bint through=*,
    )

    @cython.locals(now=double, wait=double, pending=PendingRequest)
    cpdef take(self, object data)

    cpdef _deliver(self, PendingRequest pending, object outcome, double now)

    @cython.locals(pending=PendingRequest)
    cpdef _wrote(self, Py_ssize_t requests, Py_ssize_t size)
