from libc.stdint cimport int32_t, int64_t, uint32_t

from krafka._speedups.batch cimport ProducerBatch


cdef class Delivery:
    cdef ProducerBatch batch
    cdef int32_t index
    cdef int64_t timestamp

    cdef object waiting(self)
    cdef object known(self)
    cdef object outcome(self)


cdef struct Run:
    Py_ssize_t batch
    int64_t timestamp


cdef struct Place:
    uint32_t run
    int32_t index


cdef class SendResult:
    cdef Place* places
    cdef Py_ssize_t size
    cdef Py_ssize_t capacity
    cdef Run* runs
    cdef Py_ssize_t run_count
    cdef Py_ssize_t run_capacity
    # Batches in flight, and what is left of those that ended; `settled` of them from the start have.
    cdef list batches
    cdef Py_ssize_t settled
    cdef ProducerBatch last_batch
    cdef uint32_t last_run
    cdef dict refused
    cdef object on_refused

    cdef int add(self, ProducerBatch batch, int64_t timestamp) except -1
    cdef int refuse(self, object error) except -1
    cdef int reserve_one(self) except -1
    cdef uint32_t add_run(self, Py_ssize_t batch, int64_t timestamp) except? 0
    cdef Py_ssize_t add_batch(self, ProducerBatch batch) except -1
    cdef int settle(self) except -1


cdef inline int note_place(SendResult result, ProducerBatch batch, int64_t timestamp) except -1:
    """Note in a result the record that was written last to a batch."""
    cdef Place* place
    if result.size == result.capacity or batch.result_owner is not result or batch.result_timestamp != timestamp:
        return result.add(batch, timestamp)
    place = result.places + result.size
    place.run = batch.result_run
    place.index = batch.records.count - 1
    result.size += 1
    return 0


cdef inline Delivery delivery_of_last(ProducerBatch batch, int64_t timestamp):
    """What stands for the record that was written last."""
    cdef Delivery delivery = Delivery.__new__(Delivery)
    delivery.batch = batch
    delivery.index = batch.records.count - 1
    delivery.timestamp = timestamp
    return delivery
