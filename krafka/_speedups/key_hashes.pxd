from libc.stdint cimport uint32_t, uint64_t


cdef uint64_t siphash13_of(const char* data, Py_ssize_t size) noexcept nogil
cdef uint32_t fnv1a_of(const char* data, Py_ssize_t size) noexcept nogil
cdef uint32_t crc32_of(const char* data, Py_ssize_t size) noexcept nogil
