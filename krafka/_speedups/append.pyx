"""The append path: one call takes a record from Python to its bytes in a partition's open batch.

Nothing here awaits. The wall clock, the monotonic clock and what to do when a batch opens or fills are given to
the `Appender`; it tells its caller by BufferFullError or MetadataNotReadyError when the record has to wait.
"""

cimport cython
from cpython.dict cimport PyDict_GetItemWithError
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from krafka._speedups.batch cimport PartitionBuffer, ProducerBatch, check_owner
from krafka._speedups.delivery cimport Delivery, SendResult, delivery_of_last, note_place
from krafka._speedups.listed cimport ListedValues
from krafka._speedups.plain_run cimport takes_runs, write_run
from krafka._speedups.producer_record cimport ProducerRecord
from krafka._speedups.record_batch cimport (
    RecordFields,
    RecordView,
    record_body_size,
    view_no_headers,
    view_no_key,
    view_plain,
    write_record,
)
from krafka._speedups.topic_buffer cimport STAY_BYTES, TopicBuffer, simple_choice
from krafka._speedups.varint cimport length_size

import os
from threading import get_ident

from krafka._speedups.batch import for_raising
from krafka.errors import (
    BufferFullError,
    KafkaError,
    ProducerStateError,
    RecordValidationError,
)
from krafka.records import (
    MAX_PARTITION,
    diagnosed,
    not_a_record,
    not_known_yet,
    timestamp_ms,
    too_large,
)

cdef extern from "clock.h":
    int64_t krafka_wall_clock_ms() nogil

cdef Py_ssize_t BATCH_OVERHEAD = 61
cdef object END = object()


@cython.final
cdef class Appender:
    """Puts records into their partitions' open batches, within the producer's memory.

    `refuse_with` closes it: every append raises that error until `admit` opens it again.
    """

    def __cinit__(
        self,
        *,
        Py_ssize_t batch_size,
        Py_ssize_t buffer_memory,
        Py_ssize_t max_request_size,
        double delivery_timeout,
        double batch_span=1e9,
        object monotonic,
        object on_opened,
        object on_sealed,
        object on_hastened=None,
        object wall_clock=None,
    ):
        self.topics = {}
        self.batch_size = batch_size
        self.records_limit = max(min(batch_size, max_request_size) - BATCH_OVERHEAD, 0)
        self.buffer_memory = buffer_memory
        self.available = buffer_memory
        self.max_request_size = max_request_size
        self.delivery_timeout = delivery_timeout
        self.span_ms = <int64_t>(min(batch_span, 1e9) * 1000)
        self.monotonic = monotonic
        self.wall_clock = wall_clock
        self.on_opened = on_opened
        self.on_sealed = on_sealed
        self.on_hastened = on_hastened
        self.scratch = RecordFields()
        self.refusal = ProducerStateError("the producer is not open yet")
        self.admit()

    def admit(self):
        """Take records from now on, from this thread of this process."""
        self.refusal = None
        self.refuses_granted = False
        self.owner_thread = get_ident()
        self.owner_process = os.getpid()

    def refuse_with(self, error not None, *, bint granted=False):
        """Take no more records; an append raises `error`. Those that wait for memory are, unless `granted`."""
        self.refusal = error
        self.refuses_granted = granted

    def check_caller(self):
        """Raise ProducerStateError in any thread or process but the one the producer was opened in."""
        check_owner(self.owner_thread, self.owner_process)

    def append(self, topic, value=None, *, key=None, headers=None, partition=None, timestamp=None):
        """Put one record into its partition's open batch and return its `Delivery`; see `Producer.enqueue_nowait`."""
        return self.append_fields(topic, value, key, headers, partition, timestamp)

    cpdef Delivery append_fields(self, topic, value, key, headers, partition, timestamp):
        """As `append`, for compiled code, which so has no names to match."""
        cdef int64_t placed_at = 0
        cdef ProducerBatch batch = self.place(topic, value, key, headers, partition, timestamp, -1.0, NULL, &placed_at)
        return delivery_of_last(batch, placed_at)

    def append_granted(self, topic, value, key, headers, partition, timestamp, double entered, Py_ssize_t grant):
        """Append a record that had to wait: `entered` starts its clock, `grant` bytes were reserved for it.

        Returns (delivery, bytes of the grant that were not used); the caller gives those back.
        """
        cdef int64_t placed_at = 0
        cdef Py_ssize_t left = grant
        cdef ProducerBatch batch
        batch = self.place(topic, value, key, headers, partition, timestamp, entered, &left, &placed_at)
        return delivery_of_last(batch, placed_at), left

    def append_many(self, SendResult result not None, topic, values, Py_ssize_t limit, Py_ssize_t limit_bytes):
        """Append values of an iterator to `topic`, each noted in `result`: `limit` of them, or `limit_bytes` and a bit.

        Returns (whether the iterator is at its end, the value that was not taken or None, the reason why not or None):
        it has to wait, or the producer takes nothing more. A value that is not a valid record is noted as refused, and
        the rest go on.
        """
        cdef int64_t enough = self.appended_bytes + limit_bytes
        cdef ListedValues listed = values if type(values) is ListedValues else None
        # Values that are there already take the time of the first: there are no milliseconds between them.
        self.time_stands = listed is not None
        if listed is not None:
            self.time = self.monotonic()
        try:
            return self.append_chunk(result, topic, iter(values), listed, limit, enough)
        finally:
            self.time_stands = False

    cdef tuple append_chunk(
        self, SendResult result, object topic, object values, ListedValues listed, Py_ssize_t limit, int64_t enough
    ):
        cdef Py_ssize_t taken = 0, run
        cdef ProducerBatch batch
        cdef TopicBuffer buffer = None
        cdef RecordView view
        cdef bint is_ours = False
        cdef int64_t placed_at = 0, entered_ms = 0
        if listed is not None:
            entered_ms = self.coarse_ms()
            placed_at = entered_ms if self.wall_clock is None else self.wall_clock()
        view_no_key(&view)
        view_no_headers(&view)
        while taken < limit and self.appended_bytes < enough:
            # Outside of the loop over the values, because entering a try block costs as much as encoding a value.
            try:
                while taken < limit and self.appended_bytes < enough:
                    is_ours = False
                    if listed is not None and buffer is not None and self.refusal is None and takes_runs(buffer):
                        run = write_run(
                            result, buffer, listed.items(), min(limit - taken, listed.left()), placed_at, entered_ms,
                            self.span_ms, enough - self.appended_bytes, &self.appended_bytes,
                        )
                        listed.at += run
                        taken += run
                        if taken == limit or self.appended_bytes >= enough:
                            break
                    value = next(values, END)
                    if value is END:
                        return True, None, None
                    is_ours = True
                    if buffer is not None and self.refusal is None and view_plain(value, &view.value):
                        # The topic was looked up and checked for the value before.
                        if listed is None:
                            entered_ms = self.coarse_ms()
                            placed_at = entered_ms if self.wall_clock is None else self.wall_clock()
                        batch = self.put(
                            buffer, &view, value, None, None, None, None, placed_at, entered_ms, -1.0, NULL
                        )
                    else:
                        batch = self.place(topic, value, None, None, None, None, -1.0, NULL, &placed_at)
                        buffer = self.topics[topic]
                    note_place(result, batch, placed_at)
                    taken += 1
            except KafkaError as reason:
                if not is_ours:
                    raise
                if not isinstance(reason, RecordValidationError):
                    return False, value, reason
                result.refuse(reason)
                taken += 1
        return False, None, None

    def append_records(self, SendResult result not None, records, Py_ssize_t limit, Py_ssize_t limit_bytes):
        """Append `ProducerRecord`s of an iterator, each noted in `result`; as `append_many` does values.

        Raises TypeError for an item that is none.
        """
        cdef Py_ssize_t taken = 0
        cdef int64_t placed_at = 0, enough = self.appended_bytes + limit_bytes
        cdef ProducerBatch batch
        cdef ProducerRecord plain
        iterator = iter(records)
        while taken < limit and self.appended_bytes < enough:
            record = next(iterator, END)
            if record is END:
                return True, None, None
            try:
                if type(record) is ProducerRecord:
                    plain = <ProducerRecord>record
                    batch = self.place(
                        plain.topic, plain.value, plain.key, plain.headers, plain.partition, plain.timestamp,
                        -1.0, NULL, &placed_at,
                    )
                elif isinstance(record, ProducerRecord):
                    # Somebody's own kind, which may have its fields from elsewhere.
                    batch = self.place(
                        record.topic, record.value, record.key, record.headers, record.partition, record.timestamp,
                        -1.0, NULL, &placed_at,
                    )
                else:
                    raise not_a_record(record)
            except RecordValidationError as reason:
                result.refuse(reason)
            except KafkaError as reason:
                return False, record, reason
            else:
                note_place(result, batch, placed_at)
            taken += 1
        return False, None, None

    cdef ProducerBatch place(
        self, object topic, object value, object key, object headers, object partition, object timestamp,
        double entered, Py_ssize_t* grant, int64_t* placed_at,
    ):
        cdef RecordView view
        if self.refusal is not None and (grant is NULL or self.refuses_granted):
            raise for_raising(self.refusal)
        if type(headers) is tuple and not headers:
            headers = None
        if headers is None and view_plain(value, &view.value) and view_plain(key, &view.key):
            view_no_headers(&view)
            return self.place_view(&view, topic, value, key, headers, partition, timestamp, entered, grant, placed_at)
        return self.place_borrowed(topic, value, key, headers, partition, timestamp, entered, grant, placed_at)

    cdef ProducerBatch place_borrowed(
        self, object topic, object value, object key, object headers, object partition, object timestamp,
        double entered, Py_ssize_t* grant, int64_t* placed_at,
    ):
        """Place a record some of whose bytes have to be asked for, and given back."""
        cdef RecordFields fields
        if self.scratch_in_use:
            # A header mapping or a partitioner written in Python called back into the producer.
            fields = RecordFields()
        else:
            fields = self.scratch
        self.scratch_in_use = True
        try:
            try:
                fields.take(value, key, headers)
            except Exception as error:
                raise diagnosed(error, topic, value, key, headers, partition, timestamp) from error
            return self.place_view(
                &fields.view, topic, value, key, headers, partition, timestamp, entered, grant, placed_at
            )
        finally:
            if fields is self.scratch:
                self.scratch_in_use = False
            fields.release()

    cdef ProducerBatch place_view(
        self, const RecordView* view, object topic, object value, object key, object headers, object partition,
        object timestamp, double entered, Py_ssize_t* grant, int64_t* placed_at,
    ):
        cdef TopicBuffer buffer
        cdef int64_t at, entered_ms
        if timestamp is not None or partition is not None or type(topic) is not str or self.wall_clock is not None:
            at = self.check(topic, value, key, headers, partition, timestamp)
            entered_ms = self.coarse_ms()
        else:
            at = entered_ms = krafka_wall_clock_ms()
        if entered >= 0:
            entered_ms -= <int64_t>((self.monotonic() - entered) * 1000)
        # A reference of its own, since a partitioner written in Python may do anything meanwhile.
        buffer = self.last_buffer
        if buffer is None or topic is not self.last_topic:
            buffer = self.look_up(topic)
            if buffer is None:
                raise not_known_yet(topic, value, key, headers, partition, timestamp)
        placed_at[0] = at
        return self.put(buffer, view, value, key, headers, partition, timestamp, at, entered_ms, entered, grant)

    cdef inline ProducerBatch put(
        self, TopicBuffer buffer, const RecordView* view, object value, object key, object headers, object partition,
        object timestamp, int64_t at, int64_t entered_ms, double entered, Py_ssize_t* grant
    ):
        cdef PartitionBuffer chosen
        cdef ProducerBatch batch
        if not buffer.simple or partition is not None:
            return self.spread(
                buffer, view, value, key, headers, partition, timestamp, at, entered_ms, entered, grant
            )
        chosen = simple_choice(buffer, view)
        batch = write_at_once(self, chosen, view, at, entered_ms) if entered < 0 else None
        if batch is None:
            batch = self.write(chosen, view, at, entered_ms, entered, grant)
        buffer.appended += 1
        return batch

    cdef TopicBuffer look_up(self, object topic):
        """Return a topic's buffer, if it has one, and keep it at hand: records often go where the last one went."""
        cdef PyObject* found = PyDict_GetItemWithError(self.topics, topic)
        if found is NULL:
            return None
        if type(topic) is str:
            self.last_topic = topic
            self.last_buffer = <TopicBuffer>found
        return <TopicBuffer>found

    def drop_topic(self, topic):
        """Forget a topic and return its buffer; records for it have to wait from now on."""
        self.last_topic = self.last_buffer = None
        return self.topics.pop(topic)

    cdef ProducerBatch spread(
        self, TopicBuffer buffer, const RecordView* view, object value, object key, object headers, object partition,
        object timestamp, int64_t at, int64_t entered_ms, double entered, Py_ssize_t* grant
    ):
        """Write a record to the partition of its topic that it names, or that its key or the topic's rule chooses."""
        cdef PartitionBuffer chosen
        cdef ProducerBatch batch
        cdef int64_t before = self.appended_bytes
        cdef bint stays = False
        if partition is None and buffer.partitioner is not None:
            chosen = buffer.ask(value, key, headers, timestamp)
        elif partition is None and buffer.stays and view.key.size < buffer.shortest_key:
            stays = True
            chosen = buffer.sticky
            if chosen is None or self.had_enough(buffer, chosen, view, at):
                chosen = buffer.move_on()
        else:
            chosen = buffer.choose(view, partition)
        batch = self.write(chosen, view, at, entered_ms, entered, grant)
        buffer.appended += 1
        if stays:
            # What was not written, as there was no room, counts only once it is.
            buffer.stayed += self.appended_bytes - before if buffer.keyless == STAY_BYTES else 1
        return batch

    cdef bint had_enough(
        self, TopicBuffer buffer, PartitionBuffer partition, const RecordView* view, int64_t timestamp
    ) except -1:
        """Whether a topic has stayed with a partition for long enough; a batch that a record no longer fits is closed.

        By bytes that is where a batch is full, unless records with keys keep filling its place (KIP-794).
        """
        cdef ProducerBatch batch = partition.open_batch
        cdef Py_ssize_t limit, body, size
        if buffer.keyless != STAY_BYTES:
            return buffer.stayed >= buffer.stay
        limit = limit_of(self, partition)
        if batch is None:
            body = record_body_size(view, 0, 0)
        else:
            body = record_body_size(view, timestamp - batch.records.base_timestamp, batch.records.count)
        size = length_size(body) + body
        if batch is not None and batch.records.used + size <= max(limit, batch.records.capacity):
            return buffer.stayed >= 2 * limit
        if buffer.stayed == 0 or buffer.stayed + size <= limit:
            return False
        if batch is not None:
            self.seal(partition)
        return True

    cdef int64_t check(
        self, object topic, object value, object key, object headers, object partition, object timestamp
    ) except? -1:
        """Look at what may be wrong besides the bytes; return the record's timestamp."""
        try:
            if partition is not None and (
                not isinstance(partition, int) or isinstance(partition, bool) or not 0 <= partition <= MAX_PARTITION
            ):
                raise ValueError(f"partition {partition!r}")
            hash(topic)
            if timestamp is not None:
                return timestamp_ms(timestamp)
        except (TypeError, ValueError, OverflowError) as error:
            raise diagnosed(error, topic, value, key, headers, partition, timestamp) from error
        return krafka_wall_clock_ms() if self.wall_clock is None else self.wall_clock()

    cdef int64_t coarse_ms(self) except? -1:
        """The cheapest clock there is, for how long a batch has been open; it may jump, which costs some batches."""
        return krafka_wall_clock_ms() if self.wall_clock is None else <int64_t>(self.monotonic() * 1000)

    cdef ProducerBatch write(
        self, PartitionBuffer partition, const RecordView* view, int64_t timestamp, int64_t entered_ms, double entered,
        Py_ssize_t* grant
    ):
        cdef ProducerBatch batch = partition.open_batch
        cdef Py_ssize_t body, needed
        if batch is not None and not may_join(self, batch, entered_ms):
            self.check_caller()
            partition.pending.append(partition.take_open())
            self.on_sealed(partition)
            batch = None
        if batch is not None:
            body = record_body_size(view, timestamp - batch.records.base_timestamp, batch.records.count)
            needed = batch.records.used + length_size(body) + body
            if needed <= batch.records.capacity or self.grow(batch, needed):
                self.appended_bytes += needed - batch.records.used
                write_record(batch.records, view, timestamp, body)
                if entered >= 0 and entered + self.delivery_timeout < batch.deadline:
                    batch.deadline = entered + self.delivery_timeout
                    if self.on_hastened is not None:
                        self.on_hastened(batch)
                return batch
        body = record_body_size(view, 0, 0)
        needed = length_size(body) + body
        # Before the batch is closed that it does not fit: a record that is refused must not touch those of others.
        if needed + BATCH_OVERHEAD > self.max_request_size or needed > self.buffer_memory:
            raise too_large(partition, needed, BATCH_OVERHEAD, self.max_request_size, self.buffer_memory)
        if batch is not None:
            self.seal(partition)
        batch = self.open_batch(partition, needed, entered, grant)
        batch.oldest_ms = entered_ms
        self.appended_bytes += needed
        write_record(batch.records, view, timestamp, body)
        partition.open_batch = batch
        self.on_opened(batch)
        if needed >= limit_of(self, partition):
            self.seal(partition)
        return batch

    def note_compressed(
        self, PartitionBuffer partition not None, Py_ssize_t size, Py_ssize_t compressed, Py_ssize_t largest
    ):
        """Learn from a batch of a partition how large one, at most `largest`, leaves `batch_size` when compressed."""
        cdef Py_ssize_t wanted = partition.own_limit or self.records_limit
        if wanted > 0:
            partition.note_compressed(size, compressed, wanted, largest)

    cdef bint grow(self, ProducerBatch batch, Py_ssize_t needed) except -1:
        cdef Py_ssize_t capacity
        cdef Py_ssize_t limit = limit_of(self, batch.partition)
        if needed > limit or self.contended:
            return False
        capacity = min(limit, max(needed, batch.records.capacity * 2))
        if capacity - batch.charge > self.available:
            return False
        batch.records.reserve(capacity)
        self.available -= capacity - batch.charge
        batch.charge = capacity
        return True

    def seal(self, PartitionBuffer partition not None):
        """Close a partition's open batch, which is full, and queue it behind those before it."""
        self.check_caller()
        batch = partition.open_batch
        partition.open_batch = None
        partition.capacity_hint = limit_of(self, partition)
        partition.pending.append(batch)
        self.on_sealed(partition)

    cdef ProducerBatch open_batch(
        self, PartitionBuffer partition, Py_ssize_t needed, double entered, Py_ssize_t* grant
    ):
        cdef Py_ssize_t capacity = max(needed, min(partition.capacity_hint, limit_of(self, partition)))
        cdef double now
        self.check_caller()
        if grant is not NULL and grant[0] >= needed:
            capacity = min(capacity, grant[0])
            grant[0] -= capacity
        elif self.contended or capacity > self.available:
            error = BufferFullError(
                f"no room for a record of {partition}: {self.available} of {self.buffer_memory} bytes of "
                f"buffer_memory are free and {'others wait for them' if self.contended else f'{capacity} are needed'}"
            )
            error.needed = min(capacity, self.buffer_memory)
            raise error
        else:
            self.available -= capacity
        now = self.time if self.time_stands else self.monotonic()
        batch = ProducerBatch(
            partition, capacity, now, (now if entered < 0 else entered) + self.delivery_timeout
        )
        batch.owner_thread = self.owner_thread
        batch.owner_process = self.owner_process
        batch.loop = self.loop
        return batch
