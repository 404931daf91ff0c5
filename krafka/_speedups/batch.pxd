from libc.stdint cimport int16_t, int32_t, int64_t, uint32_t

from krafka._speedups.record_batch cimport RecordBuffer
from krafka._speedups.waiting cimport Awaited, EventLoop, Waiters


cdef class ProducerBatch(Awaited):
    cdef readonly PartitionBuffer partition
    cdef readonly RecordBuffer records
    cdef readonly double created
    cdef public double deadline
    cdef readonly Py_ssize_t charge
    cdef public int32_t base_sequence
    cdef public int64_t producer_id
    cdef public int16_t producer_epoch
    cdef public int64_t drain_order
    cdef public int attempts
    cdef public int32_t attempt_leader_epoch
    cdef public bint on_wire
    cdef public bint expedited
    cdef public bint possibly_written
    cdef public bint in_compression
    cdef int64_t oldest_ms
    cdef unsigned long owner_thread
    cdef int owner_process
    cdef public object body
    cdef public object last_error
    cdef readonly bint done
    cdef readonly object error
    cdef readonly dict record_errors
    cdef readonly int64_t base_offset
    cdef readonly int64_t log_append_time
    cdef readonly int32_t count
    cdef EventLoop loop
    cdef Waiters waiters
    # Who is to be told of records of this batch: (index, timestamp, observer) each; None where nobody is.
    cdef list observers
    # Of a batch whose records went into others: those, and which record is where.
    cdef list part_starts
    cdef list parts
    cdef int32_t open_parts
    cdef readonly ProducerBatch whole
    # Where the records of this batch stand in a bulk call's result.
    cdef object result_owner
    cdef uint32_t result_run
    cdef int64_t result_timestamp

    cdef ProducerBatch _part(self, Py_ssize_t capacity)
    cdef int observe(self, int32_t index, int64_t timestamp, object observer) except -1
    cdef int _tell_observers(self) except -1
    cdef int _tell(self, int32_t index, int64_t timestamp, object observer) except -1


cpdef int check_owner(unsigned long thread, int process) except -1


cdef class PartitionBuffer:
    cdef readonly str topic
    cdef readonly int32_t partition
    cdef readonly ProducerBatch open_batch
    cdef readonly object pending
    cdef Py_ssize_t capacity_hint
    cdef readonly Py_ssize_t records_limit
    cdef readonly Py_ssize_t fill_limit
    # Bytes of records in a full batch where that is not as the producer has it, else 0.
    cdef Py_ssize_t own_limit
    cdef double compressed_share
