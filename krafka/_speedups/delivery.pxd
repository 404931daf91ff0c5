from libc.stdint cimport int32_t, int64_t, uint32_t

from krafka._speedups.batch cimport ProducerBatch


cdef class Delivery:
    cdef ProducerBatch batch
    cdef int32_t index
    cdef int64_t timestamp

    cdef object outcome(self)


cdef class SendResult:
    cdef uint32_t* places
    cdef Py_ssize_t size
    cdef Py_ssize_t capacity
    cdef list runs
    cdef list batches
    cdef ProducerBatch last_batch
    cdef dict refused
    cdef object on_refused

    cdef int add(self, ProducerBatch batch, int64_t timestamp) except -1
    cdef int refuse(self, object error) except -1
    cdef int reserve_one(self) except -1


cdef inline int note_place(SendResult result, ProducerBatch batch, int64_t timestamp) except -1:
    """Note in a result the record that was written last to a batch."""
    cdef uint32_t* place
    if result.size == result.capacity or batch.result_owner is not result or batch.result_timestamp != timestamp:
        return result.add(batch, timestamp)
    place = result.places + 2 * result.size
    place[0] = batch.result_run
    place[1] = batch.records.count - 1
    result.size += 1
    return 0


cdef inline Delivery delivery_of_last(ProducerBatch batch, int64_t timestamp):
    """What stands for the record that was written last."""
    cdef Delivery delivery = Delivery.__new__(Delivery)
    delivery.batch = batch
    delivery.index = batch.records.count - 1
    delivery.timestamp = timestamp
    return delivery
