from libc.stdint cimport int16_t, int32_t, int64_t

from krafka._speedups.batch cimport ProducerBatch
from krafka._state.partition cimport Partition

cdef int64_t NONE


cdef class Sequences:
    cdef readonly int64_t producer_id
    cdef readonly int16_t producer_epoch
    cdef readonly bint transactional

    cpdef bint may_send(self, Partition partition, ProducerBatch batch) except -1
    cpdef stamp(self, Partition partition, ProducerBatch batch)
    cpdef acknowledged(self, Partition partition, ProducerBatch batch)
    cpdef refused(self, Partition partition, ProducerBatch batch)
    cpdef lost(self, Partition partition, ProducerBatch batch)
    cpdef bint settle(self, Partition partition) except -1
    cdef bint _raise_epoch(self) except -1
    cpdef bint is_current(self, Partition partition) except -1
    cdef _restart(self, Partition partition)
    cdef _number(self, Partition partition, ProducerBatch batch)


cpdef int32_t last_sequence(ProducerBatch batch) except -1
cpdef bint is_behind_gap(Partition partition, ProducerBatch batch) except -1
cdef _note_gap(Partition partition, ProducerBatch batch)
cdef bint _follows(int64_t sequence, int64_t other) except -1
