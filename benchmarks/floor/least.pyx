# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""Records into v2 batches into Produce v3 requests, with nothing that could be left out."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

import struct

from crc32c import crc32c

# Header of a record batch, version 2: base offset, length, leader epoch, magic, CRC, then what the CRC covers.
BATCH_PREFIX = struct.Struct(">qiibI")
BATCH_REST = struct.Struct(">hiqqqhii")
REQUEST_HEAD = struct.Struct(">hhih")
NOT_TRANSACTIONAL_ALL_ACKS = struct.pack(">hhii", -1, -1, 30_000, 1)
CLIENT = b"floor"

cdef enum:
    HEADER = 61
    LARGEST_RECORD_OVERHEAD = 32

# What a batch of one value needs besides the value.
LARGEST_OVERHEAD = HEADER + LARGEST_RECORD_OVERHEAD


cdef inline int varint_size(int64_t value) noexcept nogil:
    cdef uint64_t zigzag = (<uint64_t>value << 1) ^ <uint64_t>(value >> 63)
    cdef int size = 1
    while zigzag >= 0x80:
        size += 1
        zigzag >>= 7
    return size


cdef inline uint8_t* put_varint(uint8_t* at, int64_t value) noexcept nogil:
    cdef uint64_t zigzag = (<uint64_t>value << 1) ^ <uint64_t>(value >> 63)
    while zigzag >= 0x80:
        at[0] = <uint8_t>(zigzag | 0x80)
        at += 1
        zigzag >>= 7
    at[0] = <uint8_t>zigzag
    return at + 1


cdef class Ticket:
    """What a caller would get for a record: which batch, and where in it."""

    cdef object owner
    cdef int32_t partition
    cdef int32_t index


cdef class Filler:
    """A request's batches, filled one after the other, over and over in the same memory; partitions take turns."""

    cdef uint8_t* memory
    cdef int32_t* used
    cdef int32_t* counts
    cdef int32_t partitions, batches, batch_size, at, first

    def __cinit__(self, int32_t partitions, int32_t batches, int32_t batch_size):
        self.memory = <uint8_t*>PyMem_Malloc(<size_t>batches * batch_size)
        self.used = <int32_t*>PyMem_Malloc(batches * sizeof(int32_t))
        self.counts = <int32_t*>PyMem_Malloc(batches * sizeof(int32_t))
        if self.memory is NULL or self.used is NULL or self.counts is NULL:
            raise MemoryError
        self.partitions = partitions
        self.batches = batches
        self.batch_size = batch_size
        self.first = 0
        self.empty()

    def __dealloc__(self):
        PyMem_Free(self.memory)
        PyMem_Free(self.used)
        PyMem_Free(self.counts)

    cdef void empty(self) noexcept:
        cdef int32_t batch
        self.at = 0
        for batch in range(self.batches):
            self.used[batch] = HEADER
            self.counts[batch] = 0

    cdef inline int32_t partition_of(self, int32_t batch) noexcept:
        cdef int32_t partition = self.first + batch
        return partition if partition < self.partitions else partition - self.partitions

    cdef inline bint put(self, bytes value) noexcept:
        cdef int32_t size = <int32_t>PyBytes_GET_SIZE(value)
        cdef int32_t count, body
        cdef uint8_t* at
        if self.used[self.at] + size + LARGEST_RECORD_OVERHEAD > self.batch_size:
            if self.at + 1 == self.batches:
                return False
            self.at += 1
        count = self.counts[self.at]
        # Attributes, timestamp delta, no key and no headers take a byte each.
        body = 4 + varint_size(count) + varint_size(size) + size
        at = put_varint(self.memory + <size_t>self.at * self.batch_size + self.used[self.at], body)
        at[0] = 0
        at[1] = 0
        at = put_varint(at + 2, count)
        at[0] = 1
        at = put_varint(at + 1, size)
        memcpy(at, PyBytes_AS_STRING(value), size)
        at[size] = 0
        self.used[self.at] += varint_size(body) + body
        self.counts[self.at] = count + 1
        return True

    def append(self, bytes value not None):
        """Take one record; None, and not taken, when every batch is full."""
        cdef Ticket ticket
        if not self.put(value):
            return None
        ticket = Ticket.__new__(Ticket)
        ticket.owner = self
        ticket.partition = self.partition_of(self.at)
        ticket.index = self.counts[self.at] - 1
        return ticket

    def fill(self, list values not None, Py_ssize_t start):
        """Take values from `start` on; returns the index of the first that had no room."""
        cdef Py_ssize_t at = start
        while at < len(values) and self.put(<bytes>values[at]):
            at += 1
        return at

    def take(self, bytes topic not None, int32_t correlation_id, int64_t now_ms):
        """Return (the request with everything that was filled, its number of records), and start anew."""
        cdef int32_t batch, filled = 0, records = 0
        batches = []
        for batch in range(self.batches):
            if self.counts[batch] == 0:
                continue
            filled += 1
            records += self.counts[batch]
            body = self.stamped(batch, now_ms)
            batches.append(struct.pack(">ii", self.partition_of(batch), len(body)))
            batches.append(body)
        head = REQUEST_HEAD.pack(0, 3, correlation_id, len(CLIENT)) + CLIENT + NOT_TRANSACTIONAL_ALL_ACKS
        head += struct.pack(">h", len(topic)) + topic + struct.pack(">i", filled)
        size = len(head) + sum(map(len, batches))
        request = b"".join([struct.pack(">i", size), head, *batches])
        if filled == self.batches:
            self.first = (self.first + filled) % self.partitions
        self.empty()
        return request, records

    cdef object stamped(self, int32_t batch, int64_t now_ms):
        cdef int32_t used = self.used[batch], count = self.counts[batch]
        cdef uint8_t* start = self.memory + <size_t>batch * self.batch_size
        stamped = memoryview(<uint8_t[:used]>start)
        BATCH_REST.pack_into(stamped, 21, 0, count - 1, now_ms, now_ms, -1, -1, -1, count)
        BATCH_PREFIX.pack_into(stamped, 0, 0, used - 12, -1, 2, crc32c(stamped[21:]))
        return stamped


cdef int32_t int32_at(const uint8_t* at) noexcept:
    return <int32_t>((<uint64_t>at[0] << 24) | (at[1] << 16) | (at[2] << 8) | at[3])


def errors_in(const uint8_t[:] response not None):
    """Return how many partitions of a Produce v3 response, from its correlation id on, carry an error."""
    cdef const uint8_t* at = &response[0] + 8
    cdef int32_t partitions, errors = 0
    at += 2 + ((at[0] << 8) | at[1])
    partitions = int32_at(at)
    at += 4
    for _ in range(partitions):
        errors += at[4] != 0 or at[5] != 0
        at += 22
    return errors
