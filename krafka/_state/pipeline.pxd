cimport cython


cdef class PendingRequest:
    cdef readonly int api_key
    cdef readonly object response_class
    cdef readonly int version
    cdef readonly int correlation_id
    cdef public list parts
    cdef readonly object on_outcome
    cdef readonly bint expects_response
    cdef readonly double timeout
    cdef readonly double deadline


cdef class RequestPipeline:
    cdef public long long answered
    cdef object _client_id
    cdef object _peer
    cdef int _next_correlation_id
    cdef object _outbox
    cdef object _parked
    cdef object _line
    cdef object _awaiting
    cdef object _unconfirmed

    @cython.locals(correlation_id=cython.longlong)
    cpdef PendingRequest queue(
        self,
        object request,
        int version,
        object on_outcome,
        bint expects_response,
        double timeout,
        double deadline,
    )

    @cython.locals(pending=PendingRequest, parts=list, size=Py_ssize_t, count=Py_ssize_t)
    cpdef tuple take_chunk(self)

    @cython.locals(pending=PendingRequest, correlation_id=int)
    cpdef tuple match(self, object frame)


@cython.locals(throttle_time_ms=int)
cpdef double throttle_seconds(PendingRequest pending, object response) except? -1
