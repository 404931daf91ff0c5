"""The hashes that clients other than Kafka's own choose partitions by: SipHash-1-3, FNV-1a and CRC-32."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint32_t, uint64_t


cdef struct SipState:
    uint64_t v0
    uint64_t v1
    uint64_t v2
    uint64_t v3


cdef inline uint64_t rotated(uint64_t word, int bits) noexcept nogil:
    return (word << bits) | (word >> (64 - bits))


cdef inline void sip_round(SipState* state) noexcept nogil:
    state.v0 += state.v1
    state.v1 = rotated(state.v1, 13) ^ state.v0
    state.v0 = rotated(state.v0, 32)
    state.v2 += state.v3
    state.v3 = rotated(state.v3, 16) ^ state.v2
    state.v0 += state.v3
    state.v3 = rotated(state.v3, 21) ^ state.v0
    state.v2 += state.v1
    state.v1 = rotated(state.v1, 17) ^ state.v2
    state.v2 = rotated(state.v2, 32)


cdef inline void sip_take(SipState* state, uint64_t word) noexcept nogil:
    state.v3 ^= word
    sip_round(state)
    state.v0 ^= word


cdef inline uint64_t little_endian(const unsigned char* data, Py_ssize_t size) noexcept nogil:
    """Up to eight bytes as a number, wherever they lie and whatever the machine's own order is."""
    cdef uint64_t word = 0
    cdef Py_ssize_t index
    for index in range(size):
        word |= <uint64_t>data[index] << (8 * index)
    return word


cdef uint64_t siphash13_of(const char* data, Py_ssize_t size) noexcept nogil:
    cdef const unsigned char* at = <const unsigned char*>data
    cdef Py_ssize_t left = size
    cdef SipState state
    # "somepseudorandomlygeneratedbytes", with which the key (0, 0) is mixed.
    state.v0 = 0x736F6D6570736575ULL
    state.v1 = 0x646F72616E646F6DULL
    state.v2 = 0x6C7967656E657261ULL
    state.v3 = 0x7465646279746573ULL
    sip_take(&state, <uint64_t>size)
    while left >= 8:
        sip_take(&state, little_endian(at, 8))
        at += 8
        left -= 8
    # The eight bytes of the length in front count, too.
    sip_take(&state, (<uint64_t>(size + 8) << 56) | little_endian(at, left))
    state.v2 ^= 0xFF
    sip_round(&state)
    sip_round(&state)
    sip_round(&state)
    return state.v0 ^ state.v1 ^ state.v2 ^ state.v3


cdef uint32_t fnv1a_of(const char* data, Py_ssize_t size) noexcept nogil:
    cdef const unsigned char* at = <const unsigned char*>data
    cdef uint32_t hashed = 0x811C9DC5U
    cdef Py_ssize_t index
    for index in range(size):
        hashed = (hashed ^ at[index]) * 0x01000193U
    # Sarama, whose partitions these are, takes the absolute value of the signed number.
    return 0U - hashed if hashed & 0x80000000U else hashed


cdef uint32_t CRC32_OF_BYTE[256]


cdef void fill_crc32_table() noexcept:
    cdef uint32_t byte, register
    cdef int _bit
    for byte in range(256):
        register = byte
        for _bit in range(8):
            register = (register >> 1) ^ 0xEDB88320U if register & 1U else register >> 1
        CRC32_OF_BYTE[byte] = register


fill_crc32_table()


cdef uint32_t crc32_of(const char* data, Py_ssize_t size) noexcept nogil:
    cdef const unsigned char* at = <const unsigned char*>data
    cdef uint32_t register = 0xFFFFFFFFU
    cdef Py_ssize_t index
    for index in range(size):
        register = (register >> 8) ^ CRC32_OF_BYTE[(register ^ at[index]) & 0xFFU]
    return register ^ 0xFFFFFFFFU


def siphash13(data) -> int:
    """Return what Rust's `DefaultHasher` makes of a slice of bytes.

    That is the SipHash-1-3, with the key (0, 0), of its length as 64 bits, little-endian, and then of the bytes.
    """
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return siphash13_of(<const char*>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


def fnv1a(data) -> int:
    """Return the 32-bit FNV-1a as Sarama and librdkafka use it: the absolute value of the signed number."""
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return fnv1a_of(<const char*>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


def crc32(data) -> int:
    """Return the CRC-32 that zlib, and librdkafka for keys, compute."""
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return crc32_of(<const char*>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)
