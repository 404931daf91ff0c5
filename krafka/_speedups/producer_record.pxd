cdef class ProducerRecord:
    cdef public object topic
    cdef public object value
    cdef public object key
    cdef public object headers
    cdef public object partition
    cdef public object timestamp

    cdef tuple fields(self)
