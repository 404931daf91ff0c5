from libc.stdint cimport uint32_t


cdef uint32_t crc32c_of(object header_tail, object body) except? 0
