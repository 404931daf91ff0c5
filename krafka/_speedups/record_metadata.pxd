from libc.stdint cimport int32_t, int64_t


cdef class RecordMetadata:
    cdef readonly str topic
    cdef readonly int32_t partition
    cdef readonly int64_t offset
    cdef readonly int64_t timestamp

    cdef tuple fields(self)


cdef inline RecordMetadata metadata_of(str topic, int32_t partition, int64_t offset, int64_t timestamp):
    cdef RecordMetadata metadata = RecordMetadata.__new__(RecordMetadata)
    metadata.topic = topic
    metadata.partition = partition
    metadata.offset = offset
    metadata.timestamp = timestamp
    return metadata
