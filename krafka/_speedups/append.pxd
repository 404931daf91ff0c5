from libc.stdint cimport int16_t, int32_t, int64_t, uint32_t

from krafka._speedups.record_batch cimport RecordBuffer, RecordFields


cdef class ProducerBatch:
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
    cdef public object body
    cdef public object last_error
    cdef readonly bint done
    cdef readonly object error
    cdef readonly dict record_errors
    cdef readonly int64_t base_offset
    cdef readonly int64_t log_append_time
    cdef readonly int32_t count
    cdef object event
    cdef SendResult result_owner
    cdef uint32_t result_run
    cdef int64_t result_timestamp

    cdef object outcome(self, int32_t index, int64_t timestamp)


cdef class Delivery:
    cdef ProducerBatch batch
    cdef int32_t index
    cdef int64_t timestamp


cdef class PartitionBuffer:
    cdef readonly str topic
    cdef readonly int32_t partition
    cdef readonly ProducerBatch open_batch
    cdef readonly object pending
    cdef Py_ssize_t capacity_hint


cdef class TopicBuffer:
    cdef readonly str topic
    cdef readonly list partitions
    cdef list available
    cdef Py_ssize_t cursor
    cdef readonly int64_t appended
    cdef object partitioner

    cdef PartitionBuffer choose(self, RecordFields fields, object key, object partition)


cdef class Appender:
    cdef readonly dict topics
    cdef readonly Py_ssize_t batch_size
    cdef readonly Py_ssize_t max_request_size
    cdef readonly Py_ssize_t buffer_memory
    cdef public Py_ssize_t available
    cdef public bint contended
    cdef Py_ssize_t records_limit
    cdef double delivery_timeout
    cdef object refusal
    cdef unsigned long owner_thread
    cdef int owner_process
    cdef object monotonic
    cdef object wall_clock
    cdef object on_opened
    cdef object on_sealed
    cdef object on_hastened
    cdef RecordFields scratch
    cdef bint scratch_in_use

    cdef ProducerBatch place(
        self, object topic, object value, object key, object headers, object partition, object timestamp,
        double entered, Py_ssize_t* grant, int64_t* placed_at,
    )
    cdef ProducerBatch write(
        self, PartitionBuffer partition, RecordFields fields, int64_t timestamp, double entered, Py_ssize_t* grant
    )
    cdef bint grow(self, ProducerBatch batch, Py_ssize_t needed) except -1
    cdef ProducerBatch open_batch(
        self, PartitionBuffer partition, Py_ssize_t needed, double entered, Py_ssize_t* grant
    )


cdef class SendResult:
    cdef uint32_t* places
    cdef Py_ssize_t size
    cdef Py_ssize_t capacity
    cdef list runs
    cdef list batches
    cdef ProducerBatch last_batch
    cdef dict refused

    cdef int add(self, ProducerBatch batch, int64_t timestamp) except -1
    cdef int refuse(self, object error) except -1
    cdef int reserve_one(self) except -1
