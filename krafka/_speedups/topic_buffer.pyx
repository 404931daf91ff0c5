"""A topic's partitions, and which of them a record goes to: by a rule, or by asking a partitioner in Python."""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from krafka._speedups.batch cimport PartitionBuffer
from krafka._speedups.key_hashes cimport crc32_of, fnv1a_of, siphash13_of
from krafka._speedups.murmur2 cimport murmur2_of
from krafka._speedups.producer_record cimport ProducerRecord
from krafka._speedups.record_batch cimport RecordView

from krafka.errors import MetadataNotReadyError, RecordValidationError

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX


cdef uint64_t hash_by_murmur2(const char* data, Py_ssize_t size) noexcept nogil:
    return <uint64_t>(murmur2_of(data, size) & 0x7FFFFFFF)


cdef uint64_t hash_by_fnv1a(const char* data, Py_ssize_t size) noexcept nogil:
    return fnv1a_of(data, size)


cdef uint64_t hash_by_crc32(const char* data, Py_ssize_t size) noexcept nogil:
    return crc32_of(data, size)


cdef uint64_t hash_by_siphash13(const char* data, Py_ssize_t size) noexcept nogil:
    return siphash13_of(data, size)


@cython.final
cdef class SpreadRule:
    """How records find their partitions without a call of Python.

    `keys` is the hash whose value modulo the partition count is a key's partition; None: keys are ignored. `keyless`
    is where a record without a key goes. `empty_is_key`: whether an empty key is one. `stay`: for how many records
    "stay for records" stays; "stay for bytes" stays for a batch.
    """

    def __cinit__(self, str keys, str keyless not None, *, bint empty_is_key=True, int64_t stay=0):
        self.shortest_key = 0 if empty_is_key else 1
        if keys is None:
            self.shortest_key = PY_SSIZE_T_MAX
            self.hash_key = hash_by_murmur2
        elif keys == "murmur2":
            self.hash_key = hash_by_murmur2
        elif keys == "siphash13":
            self.hash_key = hash_by_siphash13
        elif keys == "fnv1a":
            self.hash_key = hash_by_fnv1a
        elif keys == "crc32":
            self.hash_key = hash_by_crc32
        else:
            raise ValueError(f"there is no hash {keys!r}")
        if keyless == "in turn":
            self.keyless = IN_TURN
        elif keyless == "at random":
            self.keyless = AT_RANDOM
        elif keyless == "first":
            self.keyless = FIRST
        elif keyless == "stay for records":
            self.keyless = STAY_RECORDS
        elif keyless == "stay for bytes":
            self.keyless = STAY_BYTES
        else:
            raise ValueError(f"records without a key cannot go {keyless!r}")
        self.stay = stay

    @property
    def draws(self):
        """Whether it takes chance, so that a topic's buffer needs a seed of its own."""
        return self.keyless == AT_RANDOM or self.keyless == STAY_BYTES


cdef SpreadRule DEFAULT = SpreadRule("murmur2", "in turn")


@cython.final
cdef class TopicBuffer:
    """A topic's partitions and how keyless and keyed records are spread over them.

    `partitioner` is a `SpreadRule` (None: Kafka's own for keys, in turn without one), or an object that is asked for
    each record. `loads` tells for a list of partitions how much waits for the leader of each; by that, and by chance,
    a rule that stays for bytes chooses where to go next.
    """

    def __cinit__(self, str topic not None, object partitioner=None, *, object loads=None, uint64_t seed=0):
        cdef SpreadRule rule = DEFAULT
        self.topic = topic
        self.partitions = []
        self.available = []
        if isinstance(partitioner, SpreadRule):
            rule = partitioner
        elif partitioner is not None:
            self.partitioner = partitioner
            self.tells_record = hasattr(partitioner, "partition_record")
        self.hash_key = rule.hash_key
        self.shortest_key = rule.shortest_key
        self.keyless = rule.keyless
        self.stay = rule.stay
        self.stays = rule.keyless == STAY_RECORDS or rule.keyless == STAY_BYTES
        self.simple = self.partitioner is None and not self.stays
        self.loads = loads
        self.random_state = seed

    def set_partitions(self, list partitions not None, list available not None):
        """Replace the partitions; `available` are those that have a leader, which keyless records go to."""
        if not partitions:
            raise ValueError(f"topic {self.topic!r} without partitions")
        self.partitions = partitions
        self.available = available if available else partitions
        self.available_numbers = None
        if self.sticky is not None and self.sticky not in self.available:
            self.sticky = None

    cdef PartitionBuffer choose(self, const RecordView* view, object partition):
        """The partition that a record names, or else the rule's, unless that is to stay somewhere."""
        cdef Py_ssize_t at
        cdef list partitions = self.partitions
        cdef Py_ssize_t count = len(partitions)
        if count == 0:
            raise _unknown(self.topic)
        if partition is not None:
            at = partition
            if at >= count:
                raise MetadataNotReadyError(
                    f"topic {self.topic!r} has {count} partitions as far as is known, so there is no partition {at}",
                )
        elif view.key.size >= self.shortest_key:
            at = <Py_ssize_t>(self.hash_key(view.key.data, view.key.size) % <uint64_t>count)
        elif self.keyless == IN_TURN:
            return next_available(self)
        elif self.keyless == AT_RANDOM:
            return <PartitionBuffer>self.available[<Py_ssize_t>self.random_below(len(self.available))]
        else:
            at = 0
        return <PartitionBuffer>partitions[at]

    cdef PartitionBuffer ask(self, object value, object key, object headers, object timestamp):
        """Return the custom partitioner's choice; RecordValidationError if it raises or answers out of range."""
        # Kept here, so that nothing a partitioner does can change them between the count and the choice.
        cdef list partitions = self.partitions
        cdef Py_ssize_t count = len(partitions)
        if count == 0:
            raise _unknown(self.topic)
        name = type(self.partitioner).__name__
        try:
            if self.tells_record:
                if self.available_numbers is None:
                    self.available_numbers = tuple([(<PartitionBuffer>each).partition for each in self.available])
                record = ProducerRecord(
                    self.topic, value, key=key, headers=() if headers is None else headers, timestamp=timestamp
                )
                chosen = self.partitioner.partition_record(record, self.available_numbers, count)
            else:
                chosen = self.partitioner.partition(self.topic, None if key is None else bytes(key), count)
        except Exception as error:
            raise RecordValidationError(
                f"partitioner {name} failed for a record of topic {self.topic!r}: {type(error).__name__}: {error}"
            ) from error
        if type(chosen) is not int or not 0 <= chosen < count:
            raise RecordValidationError(
                f"partitioner {name} answered {chosen!r} for topic {self.topic!r}, "
                f"which has partitions 0 to {count - 1}; it has to return an int in that range"
            )
        return <PartitionBuffer>partitions[<Py_ssize_t>chosen]

    cdef PartitionBuffer move_on(self):
        """Choose the partition to stay with from now on."""
        cdef PartitionBuffer last = self.sticky
        cdef PartitionBuffer chosen
        if not self.available:
            raise _unknown(self.topic)
        if self.keyless == STAY_BYTES:
            # Perhaps the last one again: were it left out, a slow leader would get every other batch of two partitions.
            chosen = <PartitionBuffer>self.available[self.draw()]
        else:
            chosen = next_available(self)
            if chosen is last:
                chosen = next_available(self)
        self.sticky = chosen
        self.stayed = 0
        return chosen

    cdef Py_ssize_t draw(self) except -1:
        """Choose by chance, the likelier the less waits for a partition's leader (KIP-794)."""
        cdef Py_ssize_t count = len(self.available)
        cdef Py_ssize_t at
        cdef int64_t load, highest = 0
        cdef uint64_t weights = 0, drawn
        cdef list loads
        if self.loads is None or count == 1:
            return <Py_ssize_t>self.random_below(count)
        loads = self.loads(self.available)
        for at in range(count):
            load = loads[at]
            if load > highest:
                highest = load
        for at in range(count):
            load = loads[at]
            weights += <uint64_t>(highest + 1 - load)
        drawn = self.random_below(weights)
        for at in range(count):
            load = loads[at]
            if drawn < <uint64_t>(highest + 1 - load):
                break
            drawn -= <uint64_t>(highest + 1 - load)
        return at

    cdef uint64_t random_below(self, uint64_t bound) noexcept:
        """A number below `bound` by SplitMix64, which is good enough to spread records and takes nothing but a sum."""
        cdef uint64_t mixed
        self.random_state += 0x9E3779B97F4A7C15ULL
        mixed = self.random_state
        mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9ULL
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBULL
        return (mixed ^ (mixed >> 31)) % bound


cdef object _unknown(str topic):
    return MetadataNotReadyError(f"the partitions of topic {topic!r} are not known yet")
