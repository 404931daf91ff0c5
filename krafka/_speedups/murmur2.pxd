from libc.stdint cimport int32_t


cdef int32_t murmur2_of(const char* data, Py_ssize_t size) noexcept nogil
