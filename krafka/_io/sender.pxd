cimport cython
from libc.stdint cimport int64_t

from krafka._io.line cimport RequestLine
from krafka._speedups.batch cimport ProducerBatch
from krafka._state.accumulator cimport RecordAccumulator
from krafka._state.partition cimport Node


cdef class NodeSender:
    cdef object _engine
    cdef object _config
    cdef RecordAccumulator _accumulator
    cdef Node _node
    cdef Py_ssize_t _max_bytes
    cdef int _max_in_flight
    cdef object _woken
    cdef bint _sleeps
    cdef bint _is_held
    cdef bint _was_connected
    cdef object _known_connection
    cdef int _known_version
    cdef readonly object form

    cpdef wake(self)
    cpdef wake_now(self)
    cpdef bint hold(self) except -1
    cpdef release(self)
    cdef bint _may_send(self) except -1

    cdef int _version_on(self, connection) except -1

    @cython.locals(now=double, batches=list, connection=RequestLine, exchange=ProduceExchange, version=int)
    cpdef pump(self)


cdef class ProduceExchange:
    cdef object _engine
    cdef RecordAccumulator _accumulator
    cdef object _sender
    cdef Node _node
    cdef object _connection
    cdef readonly list _batches
    cdef dict _topic_names
    cdef object _fatal

    cpdef send(self, int version, object now)

    @cython.locals(batch=ProducerBatch, topics=dict, ids_known=bint, version=int)
    cdef tuple _topics(self, int version)

    cdef tuple _stamped(self, ProducerBatch batch)

    @cython.locals(batch=ProducerBatch, is_pump=bint)
    cpdef _answered(self, object outcome, object now)

    @cython.locals(batch=ProducerBatch, unanswered=dict, moved=bint)
    cdef _take_response(self, object response, object now)

    @cython.locals(stamped=int64_t)
    cdef bint _take_partition(self, ProducerBatch batch, object answer, object now) except -1

    cdef _note_leader(self, object topic, object answer, object response)
