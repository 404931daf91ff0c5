"""One partition as the sender sees it: its buffer, its leader, and where its sequence numbers stand."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from krafka._speedups.batch import PartitionBuffer

if TYPE_CHECKING:
    from krafka._speedups.batch import ProducerBatch
    from krafka.compression import Compressor
    from krafka.errors import KafkaError

NONE = -1


class BatchCodec(NamedTuple):
    """How batches are compressed: not at all, unless there is something that compresses."""

    id: int = 0
    """The codec's number in a batch's attributes."""
    compress: Compressor | None = None
    moment: float = math.inf
    """How many bytes of records are compressed in so little time that the event loop may stand still for it."""


UNCOMPRESSED = BatchCodec()


class Node:
    """A broker's queue: the partitions it leads that have something to send, and how much is in flight to it."""

    def __init__(self, node_id: int) -> None:
        self.node_id = node_id
        self.ready: deque[Partition] = deque()
        self.in_flight = 0


class Partition(PartitionBuffer):
    """A partition's buffer with the state that decides what may be sent, where and when.

    `in_flight` lists, in the order they were first sent, the batches whose fate is open: on the wire or waiting to
    be sent again. `unresolved` says that a batch ended with its fate unknown. `gap` is -1, or the drain order from
    which on no batch can be taken, because a sequence number there is missing in the log for good. `overtaken` are the
    drain orders of batches that were acknowledged before one that was first sent before them. `last_error` is what
    befell a batch last; None once one was acknowledged since. `enrolled`: the open transaction may have records in it.
    """

    def __init__(self, topic: str, partition: int) -> None:
        self.codec = UNCOMPRESSED
        self.node: Node | None = None
        self.leader_epoch = NONE
        self.queued = False
        self.backoff_until = 0.0
        self.on_wire = 0
        self.wire_node_id = NONE
        self.in_flight: list[ProducerBatch] = []
        self.producer_id = NONE
        self.producer_epoch = NONE
        self.next_sequence = 0
        self.last_acked_sequence = NONE
        self.last_error: KafkaError | None = None
        self.topic_id = b""
        self.unresolved = False
        self.gap = NONE
        self.overtaken: list[int] = []
        self.enrolled = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is buffered or under way."""
        return not (self.pending or self.open_batch is not None or self.in_flight or self.on_wire)
