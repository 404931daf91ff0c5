cimport cython
from libc.stdint cimport int64_t

from krafka._speedups.append cimport Appender
from krafka._speedups.batch cimport ProducerBatch
from krafka._state.memory cimport BufferMemory
from krafka._state.partition cimport Node, Partition
from krafka._state.sequences cimport Sequences

cdef int64_t NONE


cdef class RecordAccumulator:
    cdef double _linger
    cdef object _handling
    cdef bint _awaits_answers
    cdef readonly Sequences sequences
    cdef double _moment_left
    cdef object _compress_elsewhere
    cdef object _enlist
    cdef object _failed
    cdef object _wake
    cdef object _wake_at
    cdef readonly Appender appender
    cdef readonly BufferMemory memory
    cdef readonly dict nodes
    cdef readonly dict incomplete
    cdef dict _retired
    cdef object _lingering
    cdef list _delayed
    cdef double _next_deadline
    cdef object _ties
    cdef int64_t _drained_records

    cpdef _opened(self, ProducerBatch batch)

    cpdef _note_deadline(self, ProducerBatch batch)

    @cython.locals(node=Node)
    cpdef _mark_ready(self, Partition partition)

    @cython.locals(partition=Partition, batch=ProducerBatch, size=Py_ssize_t, drained=list, elsewhere=list,
                   moment=double)
    cpdef list drain(self, Node node, double now, Py_ssize_t max_bytes)

    @cython.locals(batch=ProducerBatch)
    cdef ProducerBatch _due(self, Partition partition, double now)

    @cython.locals(batch=ProducerBatch)
    cdef ProducerBatch _sendable(self, Partition partition, Node node, double now)

    @cython.locals(partition=Partition)
    cpdef ProducerBatch _closed(self, ProducerBatch batch)

    cdef _compressed(self, ProducerBatch batch)
    cdef _take_body(self, ProducerBatch batch, object body)
    cpdef _send(self, Partition partition, Node node, ProducerBatch batch)

    @cython.locals(partition=Partition)
    cpdef left_wire(self, ProducerBatch batch)

    cpdef settle(self, Partition partition)

    @cython.locals(partition=Partition)
    cpdef acknowledge(self, ProducerBatch batch, int64_t base_offset, int64_t log_append_time)

    cdef _forget(self, ProducerBatch batch)
