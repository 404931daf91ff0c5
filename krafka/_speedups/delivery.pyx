"""What callers hold of their records: a `Delivery` for one, a `SendResult` for many; each is a view of its batch."""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint32_t

from krafka._speedups.await_slot cimport PYGEN_ERROR, PYGEN_RETURN, Py_INCREF, PySendResult, PyTypeObject
from krafka._speedups.batch cimport ProducerBatch
from krafka._speedups.record_metadata cimport metadata_in

from krafka._speedups.batch import for_raising
from krafka.errors import ProducerStateError, SendManyError

cdef uint32_t REFUSED = 0xFFFFFFFF


# Its batch does not know it, so that it is in no cycle: the garbage collector need not look at a million of them.
# As many are given back as were under way, a window's worth at once: a short list of free ones would be of no use.
@cython.no_gc
@cython.freelist(32768)
@cython.final
cdef class Delivery:
    """A record in the producer's hands: await it for its `RecordMetadata`, or for the error that befell it.

    It may be awaited any number of times, from any task of the producer's event loop; cancelling an await leaves
    the record alone. Awaiting a delivery whose outcome is known returns at once, without a checkpoint.
    """

    def __await__(self):
        return self.waiting()

    cdef object waiting(self):
        # Where the outcome is known the await runs over the delivery itself: nothing, and then the outcome.
        if self.batch.settled(self.index):
            return self
        return self.batch.waiting().wait_for(self.batch, self.index, self.timestamp)

    def __iter__(self):
        return self.__await__()

    def __next__(self):
        raise StopIteration(self.known())

    cdef object known(self):
        if not self.batch.settled(self.index):
            raise ProducerStateError("the outcome of this record is not known yet: await its delivery")
        return self.outcome()

    cdef object outcome(self):
        return self.batch.outcome(self.index, self.timestamp)

    @property
    def done(self):
        """True once the outcome is known."""
        return self.batch.settled(self.index)

    @property
    def topic(self):
        """The topic the record goes to."""
        return self.batch.partition.topic

    @property
    def partition(self):
        """The partition the record goes to; known from the start."""
        return self.batch.partition.partition

    @property
    def metadata(self):
        """The `RecordMetadata` of an acknowledged record; None while the outcome is unknown or if it failed."""
        if not self.done or self.batch.error_of(self.index) is not None:
            return None
        return self.batch.outcome(self.index, self.timestamp)

    @property
    def exception(self):
        """The error of a record that failed; None while the outcome is unknown or if it was acknowledged."""
        return self.batch.error_of(self.index) if self.done else None

    def __repr__(self):
        state = "pending" if not self.done else "failed" if self.exception is not None else "delivered"
        return f"<Delivery {self.topic}-{self.partition} {state}>"


def observe(Delivery delivery not None, observer not None):
    """Have `observer(metadata, error)` called once, as soon as the outcome is known; it must not raise.

    The metadata of a record that failed has an offset and a timestamp of -1, as in Kafka's Java client.
    """
    delivery.batch.observe(delivery.index, delivery.timestamp, observer)


cdef PySendResult _send_outcome(PyObject* self, PyObject* value, PyObject** result) except PYGEN_ERROR:
    outcome = (<Delivery>self).known()
    Py_INCREF(<PyObject*>outcome)
    result[0] = <PyObject*>outcome
    return PYGEN_RETURN


(<PyTypeObject*>Delivery).tp_as_async.am_send = _send_outcome


# What is left of an acknowledged batch in the result of a bulk call. It can be in no cycle, so that the result of
# millions of records gives the garbage collector nothing to look at, nor a reason to look at the records.
@cython.no_gc
@cython.final
cdef class AcknowledgedBatch:
    cdef str topic
    cdef int32_t partition
    cdef int64_t base_offset
    cdef int64_t log_append_time


cdef AcknowledgedBatch acknowledged(ProducerBatch batch):
    cdef AcknowledgedBatch rest = AcknowledgedBatch.__new__(AcknowledgedBatch)
    rest.topic = batch.partition.topic
    rest.partition = batch.partition.partition
    rest.base_offset = batch.base_offset
    rest.log_append_time = batch.log_append_time
    return rest


@cython.final
cdef class SendResult:
    """What became of the records of one `send_many` call, in their order; a lazy, read-only sequence.

    ``result[i]`` is record i's `RecordMetadata`, or raises its error. Two 32-bit numbers are kept for each record;
    everything else is computed when asked for.
    """

    def __cinit__(self, on_refused=None):
        self.on_refused = on_refused
        self.places = NULL
        self.runs = NULL
        self.batches = []
        self.refused = {}

    def __dealloc__(self):
        PyMem_Free(self.places)
        PyMem_Free(self.runs)

    cdef int reserve_one(self) except -1:
        cdef Place* grown
        cdef Py_ssize_t capacity
        if self.size < self.capacity:
            return 0
        capacity = max(64, self.capacity + (self.capacity >> 1))
        grown = <Place*>PyMem_Realloc(self.places, capacity * sizeof(Place))
        if grown is NULL:
            raise MemoryError
        self.places = grown
        self.capacity = capacity
        return 0

    cdef uint32_t add_run(self, Py_ssize_t batch, int64_t timestamp) except? 0:
        """Return the number of a new run: of records of one time in one batch, told by its place in `batches`."""
        cdef Run* grown
        cdef Py_ssize_t capacity
        if self.run_count == self.run_capacity:
            capacity = max(16, self.run_capacity * 2)
            grown = <Run*>PyMem_Realloc(self.runs, capacity * sizeof(Run))
            if grown is NULL:
                raise MemoryError
            self.runs = grown
            self.run_capacity = capacity
        self.runs[self.run_count].batch = batch
        self.runs[self.run_count].timestamp = timestamp
        self.run_count += 1
        return <uint32_t>(self.run_count - 1)

    cdef Py_ssize_t add_batch(self, ProducerBatch batch) except -1:
        self.settle()
        self.batches.append(batch)
        return len(self.batches) - 1

    cdef int settle(self) except -1:
        """Keep no more of acknowledged batches than where their records lie, as far as all before them have ended."""
        cdef ProducerBatch batch
        while self.settled < len(self.batches):
            batch = self.batches[self.settled]
            if not batch.done:
                return 0
            if batch.error is None and batch.record_errors is None and batch.parts is None:
                self.batches[self.settled] = acknowledged(batch)
            self.settled += 1
        return 0

    cdef int add(self, ProducerBatch batch, int64_t timestamp) except -1:
        self.reserve_one()
        if batch.result_owner is not self:
            batch.result_run = self.add_run(self.add_batch(batch), timestamp)
            batch.result_owner = self
        elif batch.result_timestamp != timestamp:
            batch.result_run = self.add_run(self.runs[batch.result_run].batch, timestamp)
        batch.result_timestamp = timestamp
        self.places[self.size].run = batch.result_run
        self.places[self.size].index = batch.records.count - 1
        self.size += 1
        return 0

    cdef int refuse(self, object error) except -1:
        self.reserve_one()
        self.refused[self.size] = error
        self.places[self.size].run = REFUSED
        self.size += 1
        if self.on_refused is not None:
            self.on_refused(error)
        return 0

    def add_delivery(self, Delivery delivery not None):
        """Note a record that was appended on its own."""
        cdef Py_ssize_t at
        self.reserve_one()
        if self.last_batch is delivery.batch:
            at = self.runs[self.last_run].batch
        else:
            at = self.add_batch(delivery.batch)
            self.last_batch = delivery.batch
        self.last_run = self.add_run(at, delivery.timestamp)
        self.places[self.size].run = self.last_run
        self.places[self.size].index = delivery.index
        self.size += 1

    def add_refused(self, error not None):
        """Note a record that was never accepted, and why."""
        self.refuse(error)

    async def wait(self):
        """Return when the outcome of every record noted so far is known."""
        cdef ProducerBatch batch
        while self.settled < len(self.batches):
            batch = self.batches[self.settled]
            if not batch.done:
                await batch.wait()
            self.settle()
        # Whoever keeps the result keeps no more than that.
        self.on_refused = None

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(self.size))]
        cdef Py_ssize_t at = index
        if at < 0:
            at += self.size
        if not 0 <= at < self.size:
            raise IndexError(f"record {index} of a result of {self.size}")
        cdef Place place = self.places[at]
        if place.run == REFUSED:
            raise for_raising(self.refused[at])
        cdef int64_t timestamp = self.runs[place.run].timestamp
        cdef object batch = self.batches[self.runs[place.run].batch]
        cdef AcknowledgedBatch known
        if type(batch) is AcknowledgedBatch:
            known = <AcknowledgedBatch>batch
            return metadata_in(
                known.topic, known.partition, known.base_offset, known.log_append_time, place.index, timestamp
            )
        if not (<ProducerBatch>batch).settled(place.index):
            raise ProducerStateError(f"the outcome of record {at} is not known yet")
        return (<ProducerBatch>batch).outcome(place.index, timestamp)

    @property
    def failed(self):
        """``[(index, error)]`` of the records that failed, in order; empty if every one was acknowledged."""
        self.settle()
        cdef list batches = [None if type(batch) is AcknowledgedBatch else batch for batch in self.batches]
        if not self.refused and not any(batch is not None and batch.error is not None for batch in batches):
            return []
        failures = []
        for at in range(self.size):
            if self.places[at].run == REFUSED:
                failures.append((at, self.refused[at]))
                continue
            batch = batches[self.runs[self.places[at].run].batch]
            error = None if batch is None else batch.error_of(self.places[at].index)
            if error is not None:
                failures.append((at, error))
        return failures

    def raise_for_errors(self):
        """Raise `SendManyError` if any record failed; it carries `failed`, and the first error as its cause."""
        failed = self.failed
        if failed:
            index, error = failed[0]
            raise SendManyError(
                f"{len(failed)} of {self.size} records failed; the first is record {index}: {error}", failed=failed
            ) from error

    def __repr__(self):
        return f"<SendResult of {self.size} records in {len(self.batches)} batches>"
