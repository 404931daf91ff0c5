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


cdef inline RecordMetadata metadata_in(
    str topic, int32_t partition, int64_t base_offset, int64_t log_append_time, int32_t index, int64_t timestamp
):
    """Of record `index` of a batch that lies at `base_offset`, or somewhere unknown if that is -1."""
    return metadata_of(
        topic,
        partition,
        base_offset + index if base_offset >= 0 else -1,
        log_append_time if log_append_time >= 0 else timestamp,
    )
