cimport cython

from krafka._io.sender cimport NodeSender
from krafka._speedups.append cimport Appender
from krafka._speedups.sending cimport SendSteps


cdef class SenderWakes:
    cdef readonly dict senders
    cdef object _make
    cdef object _failed
    cdef bint _is_over
    cdef bint _holds
    cdef list _held

    @cython.locals(sender=NodeSender)
    cpdef wake(self, node_id)

    cpdef hold(self)

    @cython.locals(sender=NodeSender)
    cpdef let_go(self)


cdef class DirectSend(SendSteps):
    cdef Appender _appender
    cdef object _admission
    cdef SenderWakes _wakes

    cpdef append(self, topic, value, key, headers, partition, timestamp)
    cpdef admit(self, topic, value, key, headers, partition, timestamp)
