"""A run of values into open batches: nearly every record of a bulk send, by the shortest way there is.

Here, and not in the module that appends, because it is to be compiled together with it. Nothing in it runs Python or
counts references: what it borrows is held by the topic, its partitions and the caller.
"""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from krafka._speedups.batch cimport PartitionBuffer, ProducerBatch
from krafka._speedups.delivery cimport Place, SendResult
from krafka._speedups.listed cimport PySequence_Fast_ITEMS
from krafka._speedups.record_batch cimport RecordBuffer
from krafka._speedups.topic_buffer cimport IN_TURN, TopicBuffer
from krafka._speedups.varint cimport length_size, varint_size, write_length, write_varint


cdef extern from "Python.h":
    # As they are: what cpython.bytes calls so takes references, which are counted.
    bint PyBytes_CheckExact(PyObject* value)
    char* PyBytes_AS_STRING(PyObject* value)
    Py_ssize_t PyBytes_GET_SIZE(PyObject* value)


cdef inline bint takes_runs(TopicBuffer topic):
    """Whether records without a key go to a topic's partitions in turn."""
    return topic.simple and topic.keyless == IN_TURN


cdef inline Py_ssize_t write_run(
    SendResult result, TopicBuffer topic, PyObject** values, Py_ssize_t count, int64_t now, int64_t entered_ms,
    int64_t span, int64_t limit_bytes, int64_t* written_bytes,
):
    """Write values of this moment to a topic that takes runs, until one needs more thought; return how many went in.

    One does that is not bytes, or that no open batch has room for, or whose batch `result` does not know yet. It stops
    after `limit_bytes` too; `span` is for how many milliseconds a batch takes records, `entered_ms` now by that clock.
    """
    cdef PyObject** partitions = PySequence_Fast_ITEMS(topic.available)
    cdef Py_ssize_t partition_count = len(topic.available)
    cdef Py_ssize_t cursor = topic.cursor
    cdef Py_ssize_t taken = 0, size, body, needed
    cdef int64_t written = 0
    cdef PyObject* batch
    cdef PyObject* buffer
    cdef Place* place
    cdef char* at
    if partition_count == 0:
        return 0
    count = min(count, result.capacity - result.size)
    while taken < count and written < limit_bytes:
        if not PyBytes_CheckExact(values[taken]):
            break
        size = PyBytes_GET_SIZE(values[taken])
        if cursor >= partition_count:
            cursor = 0
        batch = <PyObject*>(<PartitionBuffer>partitions[cursor]).open_batch
        if (
            batch is <PyObject*>None
            # It has a record of this moment, so that this one changes nothing about its time.
            or (<ProducerBatch>batch).result_timestamp != now
            or <PyObject*>(<ProducerBatch>batch).result_owner is not <PyObject*>result
            or <uint64_t>(entered_ms - (<ProducerBatch>batch).oldest_ms) > <uint64_t>span
        ):
            break
        buffer = <PyObject*>(<ProducerBatch>batch).records
        # Attributes, no key, no headers: a byte each.
        body = 3 + varint_size(now - (<RecordBuffer>buffer).base_timestamp) + length_size((<RecordBuffer>buffer).count)
        body += length_size(size) + size
        needed = length_size(body) + body
        if needed > (<RecordBuffer>buffer).capacity - (<RecordBuffer>buffer).used:
            break
        at = write_length((<RecordBuffer>buffer).data + (<RecordBuffer>buffer).used, body)
        at[0] = 0
        at = write_varint(at + 1, now - (<RecordBuffer>buffer).base_timestamp)
        at = write_length(at, (<RecordBuffer>buffer).count)
        at = write_length(write_length(at, -1), size)
        memcpy(at, PyBytes_AS_STRING(values[taken]), size)
        at[size] = 0
        place = result.places + result.size + taken
        place.run = (<ProducerBatch>batch).result_run
        place.index = (<RecordBuffer>buffer).count
        (<RecordBuffer>buffer).count = (<RecordBuffer>buffer).count + 1
        (<RecordBuffer>buffer).used = (<RecordBuffer>buffer).used + needed
        written += needed
        cursor += 1
        taken += 1
    result.size += taken
    topic.cursor = cursor
    topic.appended += taken
    written_bytes[0] += written
    return taken
