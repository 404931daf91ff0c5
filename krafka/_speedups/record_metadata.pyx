"""Where an acknowledged record lies: made for each record that somebody awaits, so compiled, and of four C fields."""

cimport cython
from libc.stdint cimport int32_t, int64_t


# Its fields can be in no cycle; the garbage collector need not look at a million of them.
@cython.no_gc
@cython.freelist(64)
@cython.final
cdef class RecordMetadata:
    """Where an acknowledged record lies.

    `offset` is -1 where no broker told one: with `acks="none"`, and for a record a broker had already. `timestamp` is
    the record's own in epoch milliseconds, or the broker's for a topic with `message.timestamp.type=LogAppendTime`.
    Its fields cannot be changed. It unpacks, compares and hashes as the tuple of them, in this order.
    """

    __match_args__ = ("topic", "partition", "offset", "timestamp")

    def __init__(self, str topic not None, int32_t partition, int64_t offset, int64_t timestamp):
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.timestamp = timestamp

    cdef tuple fields(self):
        return self.topic, self.partition, self.offset, self.timestamp

    def __iter__(self):
        return iter(self.fields())

    def __eq__(self, other):
        if isinstance(other, RecordMetadata):
            return self.fields() == (<RecordMetadata>other).fields()
        if isinstance(other, tuple):
            return self.fields() == other
        return NotImplemented

    def __hash__(self):
        return hash(self.fields())

    def __reduce__(self):
        return RecordMetadata, self.fields()

    def __repr__(self):
        return (
            f"RecordMetadata(topic={self.topic!r}, partition={self.partition}, offset={self.offset}, "
            f"timestamp={self.timestamp})"
        )
