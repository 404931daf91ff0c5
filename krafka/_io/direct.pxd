from krafka._speedups.append cimport Appender
from krafka._speedups.waiting cimport EventLoop


cdef class DirectSend:
    cdef Appender _appender
    cdef EventLoop _loop
    cdef object _admission
    cdef object _wake_now
    cdef bint _holds
    cdef list _held

    cpdef append(self, topic, value, key, headers, partition, timestamp)
    cpdef bint holds(self, sender) except -1
