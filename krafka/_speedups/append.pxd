from libc.stdint cimport int64_t, uint64_t

from krafka._speedups.batch cimport PartitionBuffer, ProducerBatch
from krafka._speedups.delivery cimport Delivery, SendResult
from krafka._speedups.listed cimport ListedValues
from krafka._speedups.record_batch cimport RecordBuffer, RecordFields, RecordView, record_body_size, write_record
from krafka._speedups.topic_buffer cimport TopicBuffer
from krafka._speedups.varint cimport length_size
from krafka._speedups.waiting cimport EventLoop


cdef class Appender:
    cdef object __weakref__
    # Whatever leaves this has to leave by `drop_topic`.
    cdef readonly dict topics
    cdef str last_topic
    cdef TopicBuffer last_buffer
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

    cpdef Delivery append_fields(self, topic, value, key, headers, partition, timestamp)
    cdef tuple append_chunk(
        self, SendResult result, object topic, object values, ListedValues listed, Py_ssize_t limit, int64_t enough
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
    cdef ProducerBatch put(
        self, TopicBuffer buffer, const RecordView* view, object value, object key, object headers, object partition,
        object timestamp, int64_t at, int64_t entered_ms, double entered, Py_ssize_t* grant
    )
    cdef TopicBuffer look_up(self, object topic)
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
    cdef bint grow(self, ProducerBatch batch, Py_ssize_t needed) except -1
    cdef ProducerBatch open_batch(
        self, PartitionBuffer partition, Py_ssize_t needed, double entered, Py_ssize_t* grant
    )


# What the module's functions have inlined, kept apart from what they do.

cdef inline Py_ssize_t limit_of(Appender appender, PartitionBuffer partition):
    """Bytes of records that a batch of a partition may hold, unless it is of one record."""
    return min(partition.fill_limit or appender.records_limit, partition.records_limit)


cdef inline bint may_join(Appender appender, ProducerBatch batch, int64_t entered_ms):
    """Whether a record came soon enough after the others of a batch, with whom it shares the deadline."""
    if entered_ms < batch.oldest_ms:
        if batch.oldest_ms - entered_ms > appender.span_ms:
            return False
        batch.oldest_ms = entered_ms
        return True
    return entered_ms - batch.oldest_ms <= appender.span_ms


cdef inline ProducerBatch write_at_once(
    Appender appender, PartitionBuffer partition, const RecordView* view, int64_t timestamp, int64_t entered_ms
):
    """What `Appender.write` does for nearly every record: add it to the open batch. None if there is more to it."""
    cdef ProducerBatch batch = partition.open_batch
    cdef RecordBuffer records
    cdef Py_ssize_t body, needed
    if batch is None or <uint64_t>(entered_ms - batch.oldest_ms) > <uint64_t>appender.span_ms:
        return None
    records = batch.records
    body = record_body_size(view, timestamp - records.base_timestamp, records.count)
    needed = length_size(body) + body
    if needed > records.capacity - records.used:
        return None
    appender.appended_bytes += needed
    write_record(records, view, timestamp, body)
    return batch
