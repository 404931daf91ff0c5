from krafka._speedups.waiting cimport EventLoop


cdef class SendSteps:
    cdef readonly EventLoop loop

    cpdef append(self, topic, value, key, headers, partition, timestamp)
    cpdef admit(self, topic, value, key, headers, partition, timestamp)
