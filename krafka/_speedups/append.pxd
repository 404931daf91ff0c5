from libc.stdint cimport int64_t

from krafka._speedups.batch cimport PartitionBuffer, ProducerBatch
from krafka._speedups.delivery cimport SendResult
from krafka._speedups.record_batch cimport RecordFields, RecordView
from krafka._speedups.topic_buffer cimport TopicBuffer
from krafka._speedups.waiting cimport EventLoop


cdef class Appender:
    cdef object __weakref__
    cdef readonly dict topics
    cdef readonly Py_ssize_t batch_size
    cdef readonly Py_ssize_t max_request_size
    cdef readonly Py_ssize_t buffer_memory
    cdef public Py_ssize_t available
    cdef public bint contended
    cdef readonly int64_t appended_bytes
    cdef Py_ssize_t records_limit
    cdef double delivery_timeout
    cdef int64_t span_ms
    cdef readonly object refusal
    cdef bint refuses_granted
    cdef unsigned long owner_thread
    cdef int owner_process
    cdef public EventLoop loop
    cdef object monotonic
    cdef bint time_stands
    cdef double time
    cdef object wall_clock
    cdef object on_opened
    cdef object on_sealed
    cdef object on_hastened
    cdef RecordFields scratch
    cdef bint scratch_in_use

    cdef tuple append_chunk(
        self, SendResult result, object topic, object values, Py_ssize_t limit, int64_t enough, bint exists
    )
    cdef ProducerBatch place(
        self, object topic, object value, object key, object headers, object partition, object timestamp,
        double entered, Py_ssize_t* grant, int64_t* placed_at,
    )
    cdef ProducerBatch place_borrowed(
        self, object topic, object value, object key, object headers, object partition, object timestamp,
        double entered, Py_ssize_t* grant, int64_t* placed_at,
    )
    cdef ProducerBatch place_view(
        self, const RecordView* view, object topic, object value, object key, object headers, object partition,
        object timestamp, double entered, Py_ssize_t* grant, int64_t* placed_at,
    )
    cdef ProducerBatch spread(
        self, TopicBuffer buffer, const RecordView* view, object value, object key, object headers, object partition,
        object timestamp, int64_t at, int64_t entered_ms, double entered, Py_ssize_t* grant
    )
    cdef bint had_enough(
        self, TopicBuffer buffer, PartitionBuffer partition, const RecordView* view, int64_t timestamp
    ) except -1
    cdef int64_t check(
        self, object topic, object value, object key, object headers, object partition, object timestamp
    ) except? -1
    cdef ProducerBatch write(
        self, PartitionBuffer partition, const RecordView* view, int64_t timestamp, int64_t entered_ms, double entered,
        Py_ssize_t* grant
    )
    cdef int64_t coarse_ms(self) except? -1
    cdef bint may_join(self, ProducerBatch batch, int64_t entered_ms)
    cdef Py_ssize_t limit_of(self, PartitionBuffer partition)
    cdef bint grow(self, ProducerBatch batch, Py_ssize_t needed) except -1
    cdef ProducerBatch open_batch(
        self, PartitionBuffer partition, Py_ssize_t needed, double entered, Py_ssize_t* grant
    )
