"""Errors krafka itself finds: configuration, validation, deadlines, connections and misuse."""

from __future__ import annotations

import anyio

from krafka.errors._base import InvalidMetadataError, KafkaError


class ConfigError(KafkaError, ValueError):
    """An option is wrong; the text names the option, the value given and the bound.

    `option` is the option's name, or None where the fault lies in no single one.
    """

    def __init__(
        self, message: str = "", *, option: str | None = None, possibly_written: bool = False
    ) -> None:
        super().__init__(message, possibly_written=possibly_written)
        self.option = option


class RecordValidationError(KafkaError, ValueError):
    """A record cannot be sent as it is; the text names the field. Only this record fails."""


class ProtocolError(KafkaError):
    """A broker sent bytes that are not what the protocol says; its connection is closed."""


class ConnectionFailedError(InvalidMetadataError):
    """A connection to a broker could not be opened, or broke; `__cause__` is the system's reason."""


class KafkaTimeoutError(KafkaError, TimeoutError):
    """A time limit of the configuration passed; the text names the option and its seconds."""

    is_retriable = True


class DeliveryTimeoutError(KafkaTimeoutError):
    """The record had no outcome within `delivery_timeout`; `__cause__` is the last real reason.

    `possibly_written` tells the two kinds apart: False means that the record never left for a
    broker or was refused each time, so that sending it again is safe; True that a broker may have
    stored it, so that sending it again may write it twice.
    """


class MetadataTimeoutError(DeliveryTimeoutError):
    """The topic's metadata did not come within `max_block`; the record was not accepted."""


class BufferTimeoutError(KafkaTimeoutError):
    """`buffer_memory` stayed full for `max_block`; the record was not accepted."""


class CloseTimeoutError(KafkaTimeoutError):
    """Closing took longer than its timeout; records without an outcome by then have failed."""

    is_retriable = False


class BufferFullError(KafkaError, anyio.WouldBlock):
    """`buffer_memory` is full and the call does not wait; the record was not accepted."""

    is_retriable = True
    needed: int = 0
    """Bytes the record would have had to be given."""


class MetadataNotReadyError(KafkaError, anyio.WouldBlock):
    """The topic's metadata is not here yet and the call does not wait; the record was not accepted."""

    is_retriable = True


class ProducerClosedError(KafkaError):
    """The producer is closed or closing; make a new one."""

    is_fatal = True


class ProducerStateError(KafkaError):
    """The producer was used outside its `async with`, or from another thread, event loop or process."""


class ProducerCrashedError(KafkaError):
    """A background task of the producer failed by a bug; `__cause__` is the failure to report."""

    is_fatal = True


class InvalidTransactionStateError(ProducerStateError):
    """The call does not fit the transaction's state; the text names both. Nothing was changed."""


class TransactionAbortedError(KafkaError):
    """The record's transaction was aborted before the record had its outcome; readers of committed records miss it."""


class TransactionTimeoutError(KafkaTimeoutError):
    """The transaction coordinator did not answer for `max_block`; the same call may be made again."""


class CommitOutcomeUnknownError(KafkaTimeoutError):
    """A commit was asked for and not answered, so that it may have happened; only the same commit may be asked again.

    Until `commit_transaction()` has returned, an abort is refused: it could undo nothing of a commit that happened, and
    would make the caller believe that it had. A producer that is made anew with the same `transactional_id` settles the
    transaction one way or the other; which of them, only reading the topics tells.
    """

    possibly_written = True
