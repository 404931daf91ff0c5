"""Big-endian stores by shifts, which compilers turn into one byte-swapped move; header-only."""

from libc.stdint cimport int16_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t


cdef inline void store_int16(unsigned char* at, int16_t value) noexcept nogil:
    cdef uint16_t bits = <uint16_t>value
    at[0] = <unsigned char>(bits >> 8)
    at[1] = <unsigned char>bits


cdef inline void store_uint32(unsigned char* at, uint32_t bits) noexcept nogil:
    at[0] = <unsigned char>(bits >> 24)
    at[1] = <unsigned char>(bits >> 16)
    at[2] = <unsigned char>(bits >> 8)
    at[3] = <unsigned char>bits


cdef inline void store_int32(unsigned char* at, int32_t value) noexcept nogil:
    store_uint32(at, <uint32_t>value)


cdef inline void store_int64(unsigned char* at, int64_t value) noexcept nogil:
    cdef uint64_t bits = <uint64_t>value
    store_uint32(at, <uint32_t>(bits >> 32))
    store_uint32(at + 4, <uint32_t>bits)
