"""The 32-bit murmur2 that Kafka's Java client hashes record keys with (seed 0x9747b28c)."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, uint32_t

cdef uint32_t SEED = 0x9747B28C
cdef uint32_t MULTIPLIER = 0x5BD1E995


cdef int32_t murmur2_of(const char* data, Py_ssize_t size) noexcept nogil:
    cdef const unsigned char* at = <const unsigned char*>data
    cdef uint32_t hashed = SEED ^ <uint32_t>size
    cdef uint32_t word
    cdef Py_ssize_t left = size
    while left >= 4:
        word = at[0] | (<uint32_t>at[1] << 8) | (<uint32_t>at[2] << 16) | (<uint32_t>at[3] << 24)
        word *= MULTIPLIER
        word ^= word >> 24
        word *= MULTIPLIER
        hashed *= MULTIPLIER
        hashed ^= word
        at += 4
        left -= 4
    if left == 3:
        hashed ^= <uint32_t>at[2] << 16
    if left >= 2:
        hashed ^= <uint32_t>at[1] << 8
    if left >= 1:
        hashed ^= at[0]
        hashed *= MULTIPLIER
    hashed ^= hashed >> 13
    hashed *= MULTIPLIER
    hashed ^= hashed >> 15
    return <int32_t>hashed


def murmur2(data) -> int:
    """Return the signed 32-bit murmur2 of any bytes-like object, as ``Utils.murmur2`` of Kafka's Java client does."""
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return murmur2_of(<const char*>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)
