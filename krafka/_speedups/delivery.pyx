"""What callers hold of their records: a `Delivery` for one, a `SendResult` for many; each is a view of its batch."""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint32_t

from krafka._speedups.batch cimport ProducerBatch

from krafka._speedups.batch import for_raising
from krafka.errors import ProducerStateError, SendManyError

cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR

    ctypedef PySendResult (*sendfunc)(PyObject*, PyObject*, PyObject**) except PYGEN_ERROR

    ctypedef struct PyAsyncMethods:
        sendfunc am_send

    ctypedef struct PyTypeObject:
        PyAsyncMethods* tp_as_async
    void Py_INCREF(PyObject*)

cdef uint32_t REFUSED = 0xFFFFFFFF


# Its batch does not know it, so that it is in no cycle: the garbage collector need not look at a million of them.
@cython.no_gc
@cython.freelist(256)
@cython.final
cdef class Delivery:
    """A record in the producer's hands: await it for its `RecordMetadata`, or for the error that befell it.

    It may be awaited any number of times, from any task of the producer's event loop; cancelling an await leaves
    the record alone. Awaiting a delivery whose outcome is known returns at once, without a checkpoint.
    """

    def __await__(self):
        cdef KnownOutcome known
        if self.batch.settled(self.index):
            known = KnownOutcome.__new__(KnownOutcome)
            known.delivery = self
            return known
        return self.batch.waiting().wait_for(self.batch, self.index, self.timestamp)

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


@cython.no_gc
@cython.freelist(8)
@cython.final
cdef class KnownOutcome:
    """What the await of a delivery runs over when the outcome is known: nothing, and then the outcome."""

    cdef Delivery delivery

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration(self.delivery.outcome())


cdef PySendResult _send_outcome(PyObject* known, PyObject* value, PyObject** result) except PYGEN_ERROR:
    outcome = (<KnownOutcome>known).delivery.outcome()
    Py_INCREF(<PyObject*>outcome)
    result[0] = <PyObject*>outcome
    return PYGEN_RETURN


# An await takes a value from here without a StopIteration around it, which costs more than everything else about it.
# Cython has no name for this slot of a type, which is CPython's since 3.10.
(<PyTypeObject*>KnownOutcome).tp_as_async.am_send = _send_outcome


@cython.final
cdef class SendResult:
    """What became of the records of one `send_many` call, in their order; a lazy, read-only sequence.

    ``result[i]`` is record i's `RecordMetadata`, or raises its error. Two 32-bit numbers are kept for each record;
    everything else is computed when asked for.
    """

    def __cinit__(self, on_refused=None):
        self.on_refused = on_refused
        self.places = NULL
        self.runs = []
        self.batches = []
        self.refused = {}

    def __dealloc__(self):
        PyMem_Free(self.places)

    cdef int reserve_one(self) except -1:
        cdef uint32_t* grown
        cdef Py_ssize_t capacity
        if self.size < self.capacity:
            return 0
        capacity = max(64, self.capacity + (self.capacity >> 1))
        grown = <uint32_t*>PyMem_Realloc(self.places, capacity * 2 * sizeof(uint32_t))
        if grown is NULL:
            raise MemoryError
        self.places = grown
        self.capacity = capacity
        return 0

    cdef int add(self, ProducerBatch batch, int64_t timestamp) except -1:
        self.reserve_one()
        if batch.result_owner is not self or batch.result_timestamp != timestamp:
            if batch.result_owner is not self:
                self.batches.append(batch)
                batch.result_owner = self
            batch.result_timestamp = timestamp
            batch.result_run = len(self.runs)
            self.runs.append((batch, timestamp))
        self.places[2 * self.size] = batch.result_run
        self.places[2 * self.size + 1] = batch.records.count - 1
        self.size += 1
        return 0

    cdef int refuse(self, object error) except -1:
        self.reserve_one()
        self.refused[self.size] = error
        self.places[2 * self.size] = REFUSED
        self.size += 1
        if self.on_refused is not None:
            self.on_refused(error)
        return 0

    def add_delivery(self, Delivery delivery not None):
        """Note a record that was appended on its own."""
        self.reserve_one()
        if self.last_batch is not delivery.batch:
            self.batches.append(delivery.batch)
            self.last_batch = delivery.batch
        self.places[2 * self.size] = len(self.runs)
        self.places[2 * self.size + 1] = delivery.index
        self.runs.append((delivery.batch, delivery.timestamp))
        self.size += 1

    def add_refused(self, error not None):
        """Note a record that was never accepted, and why."""
        self.refuse(error)

    async def wait(self):
        """Return when the outcome of every record noted so far is known."""
        for batch in self.batches:
            while not batch.done:
                await batch.wait()
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
        if self.places[2 * at] == REFUSED:
            raise for_raising(self.refused[at])
        batch, timestamp = self.runs[self.places[2 * at]]
        if not (<ProducerBatch>batch).settled(<int32_t>self.places[2 * at + 1]):
            raise ProducerStateError(f"the outcome of record {at} is not known yet")
        return (<ProducerBatch>batch).outcome(<int32_t>self.places[2 * at + 1], timestamp)

    @property
    def failed(self):
        """``[(index, error)]`` of the records that failed, in order; empty if every one was acknowledged."""
        if not self.refused and not any(batch.error is not None for batch in self.batches):
            return []
        failures = []
        for at in range(self.size):
            if self.places[2 * at] == REFUSED:
                failures.append((at, self.refused[at]))
                continue
            error = self.runs[self.places[2 * at]][0].error_of(self.places[2 * at + 1])
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
