"""Named sets of options for three common aims, and nothing else: what a preset sets, a user could."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from krafka._options import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "high_throughput": {
        "compression": "lz4",
        "batch_size": 128 * KIB,
        "linger": 0.01,
        # So that some hundred partitions have room for a batch each.
        "buffer_memory": 64 * MIB,
    },
    "low_latency": {
        "compression": "none",
        "linger": 0.0,
        # A record after a pause finds its topic known.
        "metadata_max_idle": 3600.0,
        # Where a leader moves, the next attempt is tried while its clients still wait.
        "retry_backoff": 0.02,
    },
    "durable": {
        "acks": "all",
        # Asked for, it makes an error of whatever would turn it off.
        "idempotent": True,
        "retries": None,
        # A broker that starts anew is waited for, and so is room for a record meanwhile.
        "delivery_timeout": 600.0,
        "max_block": math.inf,
        "close_timeout": 60.0,
    },
}
"""Of each preset the options it sets."""
