"""Zigzag varints as Kafka's record format writes them; header-only, so that every importer inlines them."""

from libc.stdint cimport int64_t, uint64_t


cdef inline uint64_t zigzag(int64_t value) noexcept nogil:
    return (<uint64_t>value << 1) ^ <uint64_t>(value >> 63)


cdef inline Py_ssize_t varint_size(int64_t value) noexcept nogil:
    cdef uint64_t rest = zigzag(value)
    cdef Py_ssize_t size = 1
    # Nearly every number in a record is small.
    if rest < 0x80:
        return 1
    if rest < 0x4000:
        return 2
    while rest >= 0x80:
        size += 1
        rest >>= 7
    return size


cdef inline char* write_varint(char* at, int64_t value) noexcept nogil:
    cdef uint64_t rest = zigzag(value)
    if rest < 0x80:
        at[0] = <char>rest
        return at + 1
    while rest >= 0x80:
        at[0] = <char>((rest & 0x7F) | 0x80)
        at += 1
        rest >>= 7
    at[0] = <char>rest
    return at + 1


cdef inline Py_ssize_t length_size(int64_t length) noexcept nogil:
    """What `varint_size` says of a number that is not below -1; most are small."""
    if length < 64:
        return 1
    if length < 8192:
        return 2
    return varint_size(length)


cdef inline char* write_length(char* at, int64_t length) noexcept nogil:
    """Write as `write_varint` does a number that is not below -1; most are small."""
    if length < 64:
        at[0] = <char>zigzag(length)
        return at + 1
    if length < 8192:
        at[0] = <char>((length << 1) | 0x80)
        at[1] = <char>(length >> 6)
        return at + 2
    return write_varint(at, length)


cdef inline const char* read_varint(const char* at, int64_t* value) noexcept nogil:
    """Read a varint that `write_varint` wrote: nothing is checked."""
    cdef uint64_t rest = 0
    cdef int shift = 0
    while at[0] & 0x80:
        rest |= <uint64_t>(at[0] & 0x7F) << shift
        shift += 7
        at += 1
    rest |= <uint64_t>(at[0] & 0x7F) << shift
    value[0] = <int64_t>(rest >> 1) ^ -<int64_t>(rest & 1)
    return at + 1
