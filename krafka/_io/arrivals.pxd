cdef class Arrivals:
    cdef object _socket
    cdef object _receive
    cdef object _size
    cdef object _take
    cdef object _loop
    cdef object _error
    cdef object _ended
