"""Checksums of the protocol: CRC-32C of record batches (Castagnoli, by the crc32c library's hardware instructions)."""

from libc.stdint cimport uint32_t

from crc32c import crc32c as _crc32c


cdef uint32_t crc32c_of(object header_tail, object body) except? 0:
    return <uint32_t>_crc32c(body, _crc32c(header_tail))


def crc32c(*parts) -> int:
    """Return the CRC-32C of the given bytes-like parts taken as one run of bytes."""
    cdef object checksum = 0
    for part in parts:
        checksum = _crc32c(part, checksum)
    return checksum
