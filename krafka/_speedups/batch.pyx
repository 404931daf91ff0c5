"""Batches of one partition's records on their way, what becomes of them, and the buffer they wait in."""

cimport cython
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport int32_t, int64_t

from krafka._speedups.record_batch cimport RecordBuffer, RecordCursor, stamped_header
from krafka._speedups.record_metadata cimport metadata_in, metadata_of
from krafka._speedups.waiting cimport Awaited, EventLoop, Waiters

from bisect import bisect_right
from collections import deque
from copy import copy
from os import getpid

from krafka._speedups.waiting import event_loop
from krafka.errors import ProducerStateError


cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

cdef Py_ssize_t SMALLEST_BUFFER = 1024
# Asking the system each time costs as much as appending a record.
cdef int this_process = getpid()


@cython.final
cdef class ProducerBatch(Awaited):
    """Records of one partition on their way, and their outcome once it is known.

    A batch is completed once, by `complete` or `fail`; every `Delivery` of its records is a view of that. One that a
    broker does not take as it is gives its records to others, by `divide` or `without`, and is done when those are.
    """

    def __cinit__(self, PartitionBuffer partition not None, Py_ssize_t capacity, double created, double deadline):
        self.partition = partition
        self.records = RecordBuffer(capacity)
        self.created = created
        self.deadline = deadline
        self.charge = capacity
        self.base_sequence = -1
        self.producer_id = -1
        self.producer_epoch = -1
        self.drain_order = -1
        self.attempt_leader_epoch = -1
        self.base_offset = -1
        self.log_append_time = -1

    def header(self, int attributes):
        """Return the header for `body` with the numbers that the batch has now; `attributes` as in `batch_header`."""
        return stamped_header(
            self.body, self.records.count, self.records.base_timestamp, self.records.max_timestamp, attributes,
            self.producer_id, self.producer_epoch, self.base_sequence,
        )

    def complete(self, int64_t base_offset, int64_t log_append_time):
        """Every record is acknowledged; the first lies at `base_offset`, or somewhere unknown if that is -1."""
        self._check_unfinished()
        self.base_offset = base_offset
        self.log_append_time = log_append_time
        self._finish()

    def fail(self, error not None, dict record_errors=None):
        """No record was acknowledged; `record_errors` maps the index of those to blame to their own error (KIP-467)."""
        self._check_unfinished()
        self.error = error
        self.record_errors = record_errors
        self._finish()

    def _check_unfinished(self):
        if self.done or self.parts is not None:
            raise AssertionError(f"batch of {self.partition} was completed twice")

    def _finish(self):
        self._let_go()
        self._end()

    def _end(self):
        self.done = True
        self._wake()
        if self.whole is not None:
            self.whole._part_done()
        if self.observers is not None:
            self._tell_observers()

    def _let_go(self):
        self.count = self.records.count
        self.records = None
        self.body = None
        self.result_owner = None

    def _wake(self):
        # Whoever waits for a record of a divided batch looks after each part whether it was that record's.
        cdef Waiters waiters = self.waiters
        self.waiters = None
        if waiters is not None:
            waiters.wake()
        if self.whole is not None and not self.whole.done:
            self.whole._wake()

    @property
    def record_count(self):
        return self.count if self.records is None else self.records.count

    @property
    def divided(self):
        """Whether the records have moved to other batches."""
        return self.parts is not None

    def look_again(self):
        """Have who waits look again: the batch is no longer on its way, and has no outcome either."""
        self._wake()

    def wait(self):
        """Return an awaitable that ends when there is something to look at; many tasks may wait.

        That is an outcome, of all records or of a part, or that the batch has to be sent again.

        Raises ProducerStateError in any thread or process but the producer's: nobody there would ever wake who waits.
        """
        return self.waiting().wait()

    cdef Waiters waiting(self):
        if self.owner_process:
            check_owner(self.owner_thread, self.owner_process)
        if self.waiters is None:
            self.waiters = (<EventLoop>event_loop() if self.loop is None else self.loop).waiters()
        return self.waiters

    # -- records that move to other batches -----------------------------------------------------------------------

    def divide(self, Py_ssize_t limit):
        """Move the records, in order, to new batches of at most `limit` bytes of records each; return those.

        A record that is larger has a batch of its own. The batches share this one's deadline and memory, and the
        number of its attempts but for the last, which was none of theirs.
        """
        cdef ProducerBatch part
        cursor = RecordCursor(self.records)
        starts = []
        parts = []
        while cursor.index < self.records.count:
            starts.append(cursor.index)
            part = self._part(limit)
            cursor.move(part.records, self.records.count, limit)
            parts.append(part)
        left = self.charge
        for part in parts[1:]:
            part.charge = self.charge * part.records.used // self.records.used
            left -= part.charge
        (<ProducerBatch>parts[0]).charge = left
        self._hand_over(starts, [(part, 0) for part in parts], len(parts))
        return parts

    def without(self, dict record_errors not None):
        """Fail the records of these indexes; move the others to one new batch and return it, None if there are none."""
        cdef ProducerBatch rest
        cursor = RecordCursor(self.records)
        starts = []
        parts = []
        rest = self._part(self.records.used)
        rest.charge = self.charge
        at = 0
        for index in [*sorted(record_errors), self.records.count]:
            if index > at:
                starts.append(at)
                parts.append((rest, rest.records.count))
                cursor.move(rest.records, index - at, PY_SSIZE_T_MAX)
            if index < self.records.count:
                starts.append(index)
                parts.append((None, 0))
                cursor.skip(1)
            at = index + 1
        if rest.records.count == 0:
            return None
        self.record_errors = record_errors
        self._hand_over(starts, parts, 1)
        self._wake()
        return rest

    cdef ProducerBatch _part(self, Py_ssize_t capacity):
        cdef ProducerBatch part = ProducerBatch(
            self.partition, min(capacity, self.records.used), self.created, self.deadline
        )
        part.whole = self
        part.owner_thread = self.owner_thread
        part.owner_process = self.owner_process
        part.loop = self.loop
        part.attempts = max(self.attempts - 1, 0)
        part.last_error = self.last_error
        return part

    def _hand_over(self, list starts, list parts, int32_t open_parts):
        self.part_starts = starts
        self.parts = parts
        self.open_parts = open_parts
        self.charge = 0
        self._let_go()
        if self.observers is not None:
            observers, self.observers = self.observers, None
            for index, timestamp, observer in observers:
                self.observe(index, timestamp, observer)

    def _part_done(self):
        self.open_parts -= 1
        if self.open_parts == 0:
            errors = [part.error for part, _ in self.parts if part is not None and part.error is not None]
            errors += (self.record_errors or {}).values()
            self.error = errors[0] if errors else None
            self._end()

    def _part_of(self, int32_t index):
        at = bisect_right(self.part_starts, index) - 1
        part, first = self.parts[at]
        return part, index - self.part_starts[at] + first

    cdef bint settled(self, int32_t index) except -1:
        """Whether the outcome of one record is known."""
        if self.done or self.parts is None:
            return self.done
        part, at = self._part_of(index)
        return part is None or (<ProducerBatch>part).settled(at)

    # -- outcomes -------------------------------------------------------------------------------------------------

    cdef int observe(self, int32_t index, int64_t timestamp, object observer) except -1:
        """Have `observer(metadata, error)` called once when the outcome of a record is known; now, if it is.

        It is called when the batch is as it will stay, and before anybody who awaits the record goes on.
        """
        if self.parts is not None:
            part, at = self._part_of(index)
            if part is not None:
                return (<ProducerBatch>part).observe(at, timestamp, observer)
        if self.done or self.parts is not None:
            return self._tell(index, timestamp, observer)
        if self.observers is None:
            self.observers = []
        self.observers.append((index, timestamp, observer))
        return 0

    cdef int _tell_observers(self) except -1:
        observers, self.observers = self.observers, None
        for index, timestamp, observer in observers:
            self._tell(index, timestamp, observer)
        return 0

    cdef int _tell(self, int32_t index, int64_t timestamp, object observer) except -1:
        error = self.error_of(index)
        if error is None:
            observer(self.outcome(index, timestamp), None)
        else:
            observer(metadata_of(self.partition.topic, self.partition.partition, -1, -1), error)
        return 0

    cdef object outcome(self, int32_t index, int64_t timestamp):
        if self.parts is not None:
            part, at = self._part_of(index)
            if part is not None:
                return (<ProducerBatch>part).outcome(at, timestamp)
        if self.error is not None or self.record_errors is not None:
            raise for_raising(self.error_of(index))
        return metadata_in(
            self.partition.topic, self.partition.partition, self.base_offset, self.log_append_time, index, timestamp
        )

    def error_of(self, int32_t index):
        """Return the error of one record, or None; only after its outcome is known."""
        if self.parts is not None:
            part, at = self._part_of(index)
            if part is not None:
                return part.error_of(at)
        return self.error if self.record_errors is None else self.record_errors.get(index, self.error)

    def __repr__(self):
        return (
            f"<ProducerBatch {self.partition.topic}-{self.partition.partition} records={self.record_count} "
            f"base_sequence={self.base_sequence} attempts={self.attempts} done={self.done}>"
        )


cpdef int check_owner(unsigned long thread, int process) except -1:
    """Raise ProducerStateError unless this is that thread of that process, in which a producer was opened."""
    if process != this_process:
        raise ProducerStateError(
            f"this producer was opened in process {process} and is used in process {this_process}; "
            "a forked process has to open a producer of its own"
        )
    if PyThread_get_thread_ident() != thread:
        raise ProducerStateError(
            "this producer is used from a thread other than its event loop's; call it through anyio.from_thread.run"
        )
    return 0


def note_fork():
    """Find out which process this is, after a fork."""
    global this_process
    this_process = getpid()


def for_raising(error):
    """Return a copy of an error that many records share, to be raised for one of them."""
    # One error object stands for all records of a batch; raised as it is, each raise would add to its traceback.
    fresh = copy(error)
    fresh.__cause__ = error.__cause__
    if hasattr(error, "__notes__"):
        fresh.__notes__ = list(error.__notes__)
    return fresh


cdef class PartitionBuffer:
    """What is buffered for one partition: the open batch, and before it those that are full or to be retried."""

    def __cinit__(self, str topic not None, int32_t partition):
        self.topic = topic
        self.partition = partition
        self.pending = deque()
        self.capacity_hint = SMALLEST_BUFFER
        self.records_limit = PY_SSIZE_T_MAX

    def limit_records(self, Py_ssize_t limit):
        """Make no more batches with more than `limit` bytes of records: a broker takes none of that size."""
        self.records_limit = min(self.records_limit, limit)

    def fill_to(self, Py_ssize_t limit):
        """Let a batch be full at so many bytes of records, at least 1, whatever the producer's `batch_size` is."""
        self.own_limit = self.fill_limit = limit

    def note_compressed(self, Py_ssize_t size, Py_ssize_t compressed, Py_ssize_t wanted, Py_ssize_t largest):
        """Let batches grow until `wanted` bytes are left of them, as `compressed` were of `size`; not beyond `largest`.

        The estimate follows worse compression at once and better compression slowly, so that few batches come out
        larger than wanted.
        """
        cdef double share = <double>compressed / size
        if self.compressed_share == 0 or share > self.compressed_share:
            self.compressed_share = share
        else:
            self.compressed_share += (share - self.compressed_share) / 8
        self.fill_limit = <Py_ssize_t>max(wanted, min(largest, wanted / self.compressed_share))

    def take_open(self):
        """Close the open batch and return it; None if there is none. It never holds zero records."""
        batch = self.open_batch
        if batch is not None:
            self.open_batch = None
            # A batch that left early says that the next one need not start larger than it.
            self.capacity_hint = max(SMALLEST_BUFFER, min(self.capacity_hint, batch.records.used * 2))
        return batch

    def __repr__(self):
        return f"{self.topic}-{self.partition}"
