"""One class per Kafka error code that a producer's own requests can meet, from SASL to transactions."""

from __future__ import annotations

from krafka.errors._base import (
    AuthenticationError,
    AuthorizationError,
    InvalidMetadataError,
    KafkaError,
    RetriableError,
)


class UnknownServerError(KafkaError, code=-1, code_name="UNKNOWN_SERVER_ERROR"):
    """The broker failed in a way it has no code for; its own log at this time has the exception."""


class CorruptMessageError(RetriableError, code=2):
    """The broker found a bad checksum or format in the batch; damage on the way heals by a retry."""


class UnknownTopicOrPartitionError(InvalidMetadataError, code=3):
    """The broker hosts no such topic or partition, or hides it: check name and DESCRIBE permission, or create it."""


class LeaderNotAvailableError(InvalidMetadataError, code=5):
    """The partition has no leader now, as during an election; if it lasts, brokers are down."""


class NotLeaderOrFollowerError(InvalidMetadataError, code=6):
    """The broker no longer leads this partition; metadata is fetched to find the one that does."""


class RequestTimedOutError(RetriableError, code=7):
    """The broker gave up waiting, mostly for replicas; the record may have been written. Look for slow replicas."""


class BrokerNotAvailableError(KafkaError, code=8):
    """The broker asked is not available; check that it runs."""


class ReplicaNotAvailableError(InvalidMetadataError, code=9):
    """The replica is not on this broker; metadata is fetched to find where it is."""


class MessageTooLargeError(KafkaError, code=10):
    """The batch exceeds the topic's `max.message.bytes`; send smaller records or raise the topic's limit."""


class NetworkError(InvalidMetadataError, code=13, code_name="NETWORK_EXCEPTION"):
    """The connection ended before the response came; its cause says how, `possibly_written` whether it was in time."""


class CoordinatorLoadInProgressError(RetriableError, code=14):
    """The coordinator is still loading its state after a move; it answers in a moment."""


class CoordinatorNotAvailableError(RetriableError, code=15):
    """There is no coordinator yet; on a new cluster its internal topic is being created."""


class NotCoordinatorError(RetriableError, code=16):
    """The broker is no longer the coordinator; the new one is looked up."""


class InvalidTopicError(KafkaError, code=17, code_name="INVALID_TOPIC_EXCEPTION"):
    """The topic name is not legal, or an internal topic was written to; use another name."""


class RecordListTooLargeError(KafkaError, code=18):
    """The batch exceeds the topic's `segment.bytes`; send smaller records or raise the topic's limit."""


class NotEnoughReplicasError(RetriableError, code=19):
    """Fewer replicas are in sync than `min.insync.replicas`; nothing was written. Bring brokers back."""


class NotEnoughReplicasAfterAppendError(RetriableError, code=20):
    """The leader wrote the record, but too few replicas were in sync to confirm it. Bring brokers back."""


class InvalidRequiredAcksError(KafkaError, code=21):
    """The broker does not accept this `acks`; use "all", "leader" or "none"."""


class IllegalGenerationError(KafkaError, code=22):
    """The consumer group has moved on to another generation; abort, and take part in the rebalance."""


class UnknownMemberIdError(KafkaError, code=25):
    """The consumer group does not know this member; abort, and let the consumer rejoin."""


class RebalanceInProgressError(KafkaError, code=27):
    """The consumer group is rebalancing; abort, and go on with the partitions assigned next."""


class TopicAuthorizationFailedError(AuthorizationError, code=29):
    """The user may not write to this topic; grant WRITE (and CREATE for a new topic) by ACL."""


class GroupAuthorizationFailedError(AuthorizationError, code=30):
    """The user may not use this consumer group; grant READ on the group by ACL."""


class ClusterAuthorizationFailedError(AuthorizationError, code=31):
    """The user lacks a cluster permission; idempotence on old brokers needs IDEMPOTENT_WRITE by ACL."""

    is_fatal = True


class InvalidTimestampError(KafkaError, code=32):
    """The timestamp is outside what the topic accepts; correct it, or raise `message.timestamp.*.max.ms`."""


class UnsupportedSaslMechanismError(AuthenticationError, code=33):
    """The listener does not offer this SASL mechanism; use one of `sasl.enabled.mechanisms`."""


class IllegalSaslStateError(AuthenticationError, code=34):
    """SASL messages came out of order, or the listener expects no SASL; check the listener's protocol."""


class UnsupportedVersionError(KafkaError, code=35):
    """The broker does not speak a version of this request that krafka needs; upgrade the broker."""

    is_fatal = True


class InvalidRequestError(KafkaError, code=42):
    """The broker says the request breaks the protocol: a bug in this client, or in something between."""


class UnsupportedForMessageFormatError(KafkaError, code=43):
    """The topic's old message format lacks what was asked, such as headers or transactions; upgrade its format."""


class PolicyViolationError(KafkaError, code=44):
    """A policy of the cluster forbids this; the broker's message names it."""


class OutOfOrderSequenceNumberError(KafkaError, code=45):
    """The broker misses an earlier batch of the partition; another attempt under a new epoch heals it."""


class DuplicateSequenceNumberError(KafkaError, code=46):
    """The broker holds a batch with this sequence number already; the producer takes that as success."""


class InvalidProducerEpochError(KafkaError, code=47):
    """The producer's epoch is old: the transaction timed out, or a newer producer took over; run only one of an id."""


class InvalidTxnStateError(KafkaError, code=48):
    """The coordinator's transaction is in a state that does not allow this, as after its timeout; abort it."""


class InvalidProducerIdMappingError(KafkaError, code=49):
    """The transactional id maps to another producer id now, as after its expiry; make a new producer."""

    is_fatal = True


class InvalidTransactionTimeoutError(KafkaError, code=50):
    """`transaction_timeout` exceeds the broker's `transaction.max.timeout.ms`; lower it."""


class ConcurrentTransactionsError(RetriableError, code=51):
    """The previous transaction of this transactional id is still being completed; it ends in a moment."""


class TransactionCoordinatorFencedError(KafkaError, code=52):
    """The coordinator that wrote the marker has been replaced by a newer one."""


class TransactionalIdAuthorizationFailedError(AuthorizationError, code=53):
    """The user may not use this transactional id; grant WRITE on the transactional id by ACL."""

    is_fatal = True


class SecurityDisabledError(KafkaError, code=54):
    """The cluster has its security features switched off."""


class OperationNotAttemptedError(KafkaError, code=55):
    """The broker skipped this part because another part of the same request failed."""


class KafkaStorageError(InvalidMetadataError, code=56, code_name="KAFKA_STORAGE_ERROR"):
    """The broker's disk failed for this partition; another replica is about to lead it. Look after that disk."""


class SaslAuthenticationFailedError(AuthenticationError, code=58):
    """The broker refused the credentials; check user, password or token."""


class UnknownProducerIdError(KafkaError, code=59):
    """The broker has forgotten this producer, as when its records were deleted; another attempt numbers them anew."""


class ListenerNotFoundError(InvalidMetadataError, code=72):
    """The leader has no listener of the name this client came in by; compare the brokers' listeners."""


class FencedLeaderEpochError(InvalidMetadataError, code=74):
    """The leader epoch sent is older than the broker's; newer metadata is fetched."""


class UnknownLeaderEpochError(RetriableError, code=75):
    """The leader epoch sent is newer than the broker's; it catches up in a moment."""


class UnsupportedCompressionTypeError(KafkaError, code=76):
    """The broker or the request version does not know this codec; zstd needs Kafka 2.1 or later."""


class FencedInstanceIdError(KafkaError, code=82):
    """Another consumer took this `group.instance.id`; give every instance its own."""


class InvalidRecordError(KafkaError, code=87):
    """The broker refused a record, such as one without a key on a compacted topic; correct the record."""


class UnstableOffsetCommitError(RetriableError, code=88):
    """Offsets of a transaction still open are pending; they settle when it ends."""


class ThrottlingQuotaExceededError(RetriableError, code=89):
    """A quota of the user or client id is used up; the broker asks to wait. Send less, or raise the quota."""


class ProducerFencedError(KafkaError, code=90):
    """A newer producer with the same `transactional_id` has taken over; close this one."""

    is_fatal = True


class UnknownTopicIdError(InvalidMetadataError, code=100):
    """The broker does not know this topic id: just created, or deleted and made anew."""


class InconsistentTopicIdError(InvalidMetadataError, code=103):
    """The topic's id at the broker differs: it was deleted and made anew."""


class TransactionalIdNotFoundError(KafkaError, code=105):
    """The coordinator has no such transactional id."""


class NewLeaderElectedError(KafkaError, code=108):
    """A new leader was elected while the request waited."""


class StaleMemberEpochError(KafkaError, code=113):
    """The consumer's member epoch is old; abort, and let the consumer fetch its new assignment."""


class UnknownSubscriptionIdError(KafkaError, code=117):
    """The broker has another set of client metrics subscriptions now; they are fetched again."""


class TelemetryTooLargeError(KafkaError, code=118):
    """The client metrics pushed exceed the broker's `telemetry.max.bytes`."""


class TransactionAbortableError(KafkaError, code=120):
    """The transaction can only be aborted; abort it and start the work again."""

    requires_abort = True


class RebootstrapRequiredError(KafkaError, code=129):
    """The broker tells the client to start over from its bootstrap servers."""
