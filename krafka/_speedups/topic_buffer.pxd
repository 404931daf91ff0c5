from libc.stdint cimport int64_t, uint64_t

from krafka._speedups.batch cimport PartitionBuffer
from krafka._speedups.record_batch cimport RecordView

ctypedef uint64_t (*KeyHash)(const char* data, Py_ssize_t size) noexcept nogil


cdef enum Keyless:
    IN_TURN
    AT_RANDOM
    FIRST
    STAY_RECORDS
    STAY_BYTES


cdef class SpreadRule:
    cdef KeyHash hash_key
    cdef Py_ssize_t shortest_key
    cdef Keyless keyless
    cdef int64_t stay


cdef class TopicBuffer:
    cdef readonly str topic
    cdef readonly list partitions
    cdef list available
    cdef tuple available_numbers
    cdef readonly int64_t appended
    # Who is asked for each record, in place of the rule; None where there is nobody to ask.
    cdef object partitioner
    cdef bint tells_record
    cdef KeyHash hash_key
    cdef Py_ssize_t shortest_key
    cdef Keyless keyless
    # Whether it is neither asking nor staying: then a record's key says it all.
    cdef bint simple
    cdef bint stays
    cdef int64_t stay
    cdef Py_ssize_t cursor
    # Where records without a key stay, and how many of them, or of their bytes, went there since it was chosen.
    cdef PartitionBuffer sticky
    cdef int64_t stayed
    cdef object loads
    cdef uint64_t random_state

    cdef PartitionBuffer choose(self, const RecordView* view, object partition)
    cdef PartitionBuffer ask(self, object value, object key, object headers, object timestamp)
    cdef PartitionBuffer move_on(self)
    cdef Py_ssize_t draw(self) except -1
    cdef uint64_t random_below(self, uint64_t bound) noexcept


# Here, and not in the module, because the append path is to be compiled together with it.

cdef inline PartitionBuffer next_available(TopicBuffer topic):
    """The next partition in turn of those that have a leader."""
    cdef Py_ssize_t at = topic.cursor
    if at >= len(topic.available):
        at = 0
    topic.cursor = at + 1
    return <PartitionBuffer>topic.available[at]


cdef inline PartitionBuffer simple_choice(TopicBuffer topic, const RecordView* view):
    """What `choose` would for a record that names no partition, where that takes no thought."""
    cdef Py_ssize_t count
    if view.key.size >= topic.shortest_key:
        count = len(topic.partitions)
        if count > 0:
            return <PartitionBuffer>topic.partitions[
                <Py_ssize_t>(topic.hash_key(view.key.data, view.key.size) % <uint64_t>count)
            ]
    elif topic.keyless == IN_TURN and len(topic.available) > 0:
        return next_available(topic)
    return topic.choose(view, None)
