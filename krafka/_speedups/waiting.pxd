from libc.stdint cimport int32_t, int64_t


cdef class Awaited:
    cdef bint settled(self, int32_t index) except -1
    cdef Waiters waiting(self)
    cdef object outcome(self, int32_t index, int64_t timestamp)


cdef class EventLoop:
    cdef readonly object time
    cdef readonly object checkpoint_if_cancelled

    cdef Waiters waiters(self)
    cpdef bint may_be_cancelled(self) except -1


cdef class Waiters:
    cdef readonly bint woken
    cdef list waits

    cdef object wait(self)
    cdef object wait_for(self, Awaited awaited, int32_t index, int64_t timestamp)
    cdef int wake(self) except -1
