"""One class per Kafka error code that other requests get (consuming, groups, administration, KRaft)."""

from __future__ import annotations

from krafka.errors._base import (
    AuthorizationError,
    InvalidMetadataError,
    KafkaError,
    RetriableError,
)


class OffsetOutOfRangeError(KafkaError, code=1):
    """The partition has no such offset: deleted already, or not written yet."""


class InvalidFetchSizeError(KafkaError, code=4):
    """A fetch asked for an impossible number of bytes."""


class StaleControllerEpochError(KafkaError, code=11):
    """The controller moved to another node while the request was on its way."""


class OffsetMetadataTooLargeError(KafkaError, code=12):
    """The text committed with an offset exceeds `offset.metadata.max.bytes`; shorten it."""


class InconsistentGroupProtocolError(KafkaError, code=23):
    """The member's assignors are none the group has in common; give all members the same."""


class InvalidGroupIdError(KafkaError, code=24):
    """The consumer group's name is not legal; give a name that is not empty."""


class InvalidSessionTimeoutError(KafkaError, code=26):
    """The session timeout is outside the broker's `group.*.session.timeout.ms` range."""


class InvalidCommitOffsetSizeError(KafkaError, code=28):
    """The offsets committed at once exceed what one record of the offsets topic may hold."""


class TopicAlreadyExistsError(KafkaError, code=36):
    """A topic of this name exists; use it or choose another name."""


class InvalidPartitionsError(KafkaError, code=37):
    """The partition count is below 1, or below the number the topic has."""


class InvalidReplicationFactorError(KafkaError, code=38):
    """The replication factor is below 1 or above the number of brokers available."""


class InvalidReplicaAssignmentError(KafkaError, code=39):
    """The replica assignment names unknown or repeated brokers."""


class InvalidConfigError(KafkaError, code=40):
    """A configuration value is not allowed; the broker's message names it."""


class NotControllerError(RetriableError, code=41):
    """The node is no longer the controller; the new one is looked up."""


class LogDirNotFoundError(KafkaError, code=57):
    """The broker has no such log directory; compare with its `log.dirs`."""


class ReassignmentInProgressError(KafkaError, code=60):
    """The partition is being moved between brokers; wait for that to end."""


class DelegationTokenAuthDisabledError(KafkaError, code=61):
    """The cluster does not use delegation tokens; set its secret key first."""


class DelegationTokenNotFoundError(KafkaError, code=62):
    """The broker knows no such delegation token; make a new one."""


class DelegationTokenOwnerMismatchError(KafkaError, code=63):
    """The token belongs to another user, who alone may renew or expire it."""


class DelegationTokenRequestNotAllowedError(KafkaError, code=64):
    """Token requests need an authenticated connection that did not itself use a token."""


class DelegationTokenAuthorizationFailedError(AuthorizationError, code=65):
    """The user may not see or use this delegation token; grant it by ACL."""


class DelegationTokenExpiredError(KafkaError, code=66):
    """The delegation token has expired; make a new one."""


class InvalidPrincipalTypeError(KafkaError, code=67):
    """The principal's type is not supported; use `User:name`."""


class NonEmptyGroupError(KafkaError, code=68):
    """The consumer group still has members; stop them first."""


class GroupIdNotFoundError(KafkaError, code=69):
    """There is no such consumer group."""


class FetchSessionIdNotFoundError(RetriableError, code=70):
    """The broker dropped the fetch session; a full fetch starts another."""


class InvalidFetchSessionEpochError(RetriableError, code=71):
    """The fetch session is out of step; a full fetch starts another."""


class TopicDeletionDisabledError(KafkaError, code=73):
    """The cluster has `delete.topic.enable=false`."""


class StaleBrokerEpochError(KafkaError, code=77):
    """The broker has registered anew since; its old epoch is refused."""


class OffsetNotAvailableError(RetriableError, code=78):
    """The new leader does not know its high watermark yet; it does in a moment."""


class MemberIdRequiredError(KafkaError, code=79):
    """The group wants the member to join again with the id it was given."""


class PreferredLeaderNotAvailableError(InvalidMetadataError, code=80):
    """The preferred leader is not available for election; bring that broker back."""


class GroupMaxSizeReachedError(KafkaError, code=81):
    """The consumer group has `group.max.size` members already."""


class EligibleLeadersNotAvailableError(InvalidMetadataError, code=83):
    """No replica in sync can lead the partition; bring its brokers back."""


class ElectionNotNeededError(InvalidMetadataError, code=84):
    """The partition's leader is the wanted one already."""


class NoReassignmentInProgressError(KafkaError, code=85):
    """The partition is not being moved, so there is nothing to cancel."""


class GroupSubscribedToTopicError(KafkaError, code=86):
    """A live consumer group reads this topic, so its offsets cannot be deleted."""


class ResourceNotFoundError(KafkaError, code=91):
    """There is no such resource, as with SCRAM credentials never set."""


class DuplicateResourceError(KafkaError, code=92):
    """The request names the same resource twice."""


class UnacceptableCredentialError(KafkaError, code=93):
    """The credential is not allowed, such as too few SCRAM iterations."""


class InconsistentVoterSetError(KafkaError, code=94):
    """The candidate or leader is not in the same set of KRaft voters."""


class InvalidUpdateVersionError(KafkaError, code=95):
    """The update's version is not the next one."""


class FeatureUpdateFailedError(KafkaError, code=96):
    """A feature could not be updated; the broker's message says why."""


class PrincipalDeserializationFailureError(KafkaError, code=97):
    """The controller could not read the user forwarded by a broker."""


class SnapshotNotFoundError(KafkaError, code=98):
    """The KRaft snapshot asked for is gone."""


class PositionOutOfRangeError(KafkaError, code=99):
    """The position asked for is outside the KRaft snapshot."""


class DuplicateBrokerRegistrationError(KafkaError, code=101):
    """Another live broker has this `node.id`; give each its own."""


class BrokerIdNotRegisteredError(KafkaError, code=102):
    """The broker has not registered with the controller."""


class InconsistentClusterIdError(KafkaError, code=104):
    """The node belongs to another cluster id; check its data directory and addresses."""


class FetchSessionTopicIdError(RetriableError, code=106, code_name="FETCH_SESSION_TOPIC_ID_ERROR"):
    """The fetch session mixed topic ids and names; a full fetch starts another."""


class IneligibleReplicaError(KafkaError, code=107):
    """The replica may not join the in-sync set now."""


class OffsetMovedToTieredStorageError(KafkaError, code=109):
    """The offset lies in tiered storage; fetch it from there."""


class FencedMemberEpochError(KafkaError, code=110):
    """The consumer's member epoch was fenced; it leaves its partitions and rejoins."""


class UnreleasedInstanceIdError(KafkaError, code=111):
    """The `group.instance.id` is still held by another member; stop that one first."""


class UnsupportedAssignorError(KafkaError, code=112):
    """The broker has no such assignor; use one of `group.consumer.assignors`."""


class MismatchedEndpointTypeError(KafkaError, code=114):
    """A request for controllers reached a broker, or the other way round; check the address."""


class UnsupportedEndpointTypeError(KafkaError, code=115):
    """The node does not know this type of endpoint."""


class UnknownControllerIdError(KafkaError, code=116):
    """There is no controller of this id."""


class InvalidRegistrationError(KafkaError, code=119):
    """The controller refused the broker's registration; its log says why."""


class InvalidRecordStateError(KafkaError, code=121):
    """The record acquired from a share group is no longer held by this member."""


class ShareSessionNotFoundError(RetriableError, code=122):
    """The broker dropped the share session; another is started."""


class InvalidShareSessionEpochError(RetriableError, code=123):
    """The share session is out of step; another is started."""


class FencedStateEpochError(KafkaError, code=124):
    """The share group's state has a newer epoch."""


class InvalidVoterKeyError(KafkaError, code=125):
    """The voter's directory id does not match the KRaft replica."""


class DuplicateVoterError(KafkaError, code=126):
    """The node is a KRaft voter already."""


class VoterNotFoundError(KafkaError, code=127):
    """The node is not a KRaft voter."""


class InvalidRegularExpressionError(KafkaError, code=128):
    """The broker cannot read the subscription's regular expression (RE2/J syntax)."""


class StreamsInvalidTopologyError(KafkaError, code=130):
    """The streams topology is not valid; the broker's message says why."""


class StreamsInvalidTopologyEpochError(KafkaError, code=131):
    """The streams topology's epoch is not valid."""


class StreamsTopologyFencedError(KafkaError, code=132):
    """A newer streams topology has taken over."""


class ShareSessionLimitReachedError(RetriableError, code=133):
    """The broker has as many share sessions as it allows; a place may come free."""
