cdef class FrameReader:
    cdef object _held
    cdef Py_ssize_t _max_frame_size
    cdef Py_ssize_t _needed
    cdef object _peer
    cdef bint _saw_frame
    cdef object _view
    cdef Py_ssize_t _start

    cpdef take_in(self, object data)

    cpdef next_frame(self)
