from libc.stdint cimport int64_t

from krafka._speedups.batch cimport ProducerBatch


cpdef int64_t append_time(ProducerBatch batch, int64_t told) except? -2
