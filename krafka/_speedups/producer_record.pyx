"""A record to send: made for each record of some bulk calls, so compiled, which makes one in a fifth of the time."""

cimport cython

from dataclasses import field, make_dataclass, replace

from krafka.records import header_items


@cython.freelist(8)
cdef class ProducerRecord:
    """A record to send.

    `value=None` is a tombstone and differs from the empty `b""`, as do the two for `key` and header
    values. `partition=None` leaves the choice to the partitioner. `timestamp` is epoch milliseconds
    or an aware datetime; None takes the clock when the record is appended. `value` and `key` are bytes,
    bytearray, memoryview or None, or what the producer's serializers take.

    It is a dataclass to everything that asks, `dataclasses.replace` among them.
    """

    __match_args__ = ("topic", "value")
    __hash__ = None
    # What makes a dataclass of a class, for the functions of that module.
    __dataclass_fields__ = make_dataclass(
        "ProducerRecord",
        [
            ("topic", "str"),
            ("value", "Serializable", None),
            ("key", "Serializable", field(default=None, kw_only=True)),
            ("headers", "Headers", field(default=(), kw_only=True)),
            ("partition", "int | None", field(default=None, kw_only=True)),
            ("timestamp", "int | datetime | None", field(default=None, kw_only=True)),
        ],
    ).__dataclass_fields__

    def __init__(self, topic, value=None, *, key=None, headers=(), partition=None, timestamp=None):
        self.topic = topic
        self.value = value
        self.key = key
        self.headers = headers
        self.partition = partition
        self.timestamp = timestamp

    def add_header(self, name, value):
        """Put a header behind those there are; `headers` is a new sequence afterwards."""
        self.headers = (*header_items(self.headers), (name, value))

    cdef tuple fields(self):
        return self.topic, self.value, self.key, self.headers, self.partition, self.timestamp

    def __eq__(self, other):
        if type(self) is not type(other):
            return NotImplemented
        return self.fields() == (<ProducerRecord>other).fields()

    def __replace__(self, **changes):
        return replace(self, **changes)

    def __repr__(self):
        return (
            f"{type(self).__qualname__}(topic={self.topic!r}, value={self.value!r}, key={self.key!r}, "
            f"headers={self.headers!r}, partition={self.partition!r}, timestamp={self.timestamp!r})"
        )
