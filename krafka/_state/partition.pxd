from libc.stdint cimport int16_t, int32_t, int64_t

from krafka._speedups.batch cimport PartitionBuffer


cdef class Node:
    cdef public int in_flight
    cdef readonly int32_t node_id
    cdef readonly object ready


cdef class Partition(PartitionBuffer):
    cdef public double backoff_until
    cdef public object codec
    cdef public int64_t gap
    cdef public list in_flight
    cdef public int32_t last_acked_sequence
    cdef public object last_error
    cdef public int32_t leader_epoch
    cdef public int32_t next_sequence
    cdef public Node node
    cdef public int on_wire
    cdef public list overtaken
    cdef public int16_t producer_epoch
    cdef public int64_t producer_id
    cdef public bint queued
    cdef public bytes topic_id
    cdef public bint enrolled
    cdef public bint unresolved
    cdef public int32_t wire_node_id
