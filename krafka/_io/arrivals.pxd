cdef class Arrivals:
    cdef object _socket
    cdef object _receive_into
    cdef object _buffer
    cdef object _take
    cdef object _loop
    cdef object _error
    cdef object _ended
