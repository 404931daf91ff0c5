"""Errors: complete against Kafka's table, in Kafka's families, and fit to travel between processes."""

from __future__ import annotations

import copy
import inspect
import pickle

import anyio
import pytest
from kio.schema.errors import ErrorCode

import krafka.errors
from krafka.errors import (
    AuthenticationError,
    AuthorizationError,
    BufferFullError,
    BufferTimeoutError,
    CloseTimeoutError,
    ConfigError,
    ConnectionFailedError,
    DeliveryTimeoutError,
    InvalidMetadataError,
    KafkaError,
    KafkaTimeoutError,
    MetadataNotReadyError,
    MetadataTimeoutError,
    NotLeaderOrFollowerError,
    ProducerCrashedError,
    ProducerFencedError,
    ProtocolError,
    RecordValidationError,
    TransactionAbortableError,
    UnknownKafkaError,
    error_classes_by_code,
    error_for_code,
)

# Kafka 4.3.1, org.apache.kafka.common.errors: the codes whose exception extends each of these classes.
INVALID_METADATA = {3, 5, 6, 9, 13, 56, 72, 74, 80, 83, 84, 100, 103}
AUTHENTICATION = {33, 34, 58}
AUTHORIZATION = {29, 30, 31, 53, 65}
# Sender and TransactionManager.maybeTransitionToErrorState: what ends a producer.
PRODUCER_FATAL = {31, 35, 49, 53, 90}

BY_CODE = error_classes_by_code()
PUBLIC = [item for name in krafka.errors.__all__ if inspect.isclass(item := getattr(krafka.errors, name))]


def test_every_code_of_kafka_has_a_class_and_no_other_code_has() -> None:
    assert set(BY_CODE) == {code.value for code in ErrorCode} - {0}


@pytest.mark.parametrize("code", [code for code in ErrorCode if code.value != 0], ids=lambda code: code.name)
def test_a_class_agrees_with_an_independent_table(code: ErrorCode) -> None:
    error_class = BY_CODE[code.value]
    assert error_class.code == code.value
    assert error_class.code_name == code.name.upper()
    assert error_class.is_retriable is code.retriable
    words = code.name.removesuffix("_exception").removesuffix("_error").split("_")
    assert error_class.__name__ == "".join(word.capitalize() for word in words) + "Error"
    assert getattr(krafka.errors, error_class.__name__) is error_class


@pytest.mark.parametrize(
    ("predicate", "codes"),
    [
        (lambda c: c.refreshes_metadata, INVALID_METADATA),
        (lambda c: issubclass(c, InvalidMetadataError), INVALID_METADATA),
        (lambda c: issubclass(c, AuthenticationError), AUTHENTICATION),
        (lambda c: issubclass(c, AuthorizationError), AUTHORIZATION),
        (lambda c: c.is_fatal, PRODUCER_FATAL | AUTHENTICATION),
        (lambda c: c.requires_abort, {120}),
        (lambda c: c.possibly_written, set()),
    ],
    ids=["refreshes", "invalid-metadata", "authentication", "authorization", "fatal", "abort", "written"],
)
def test_families_hold_the_codes_they_hold_in_java(predicate: object, codes: set[int]) -> None:
    assert callable(predicate)
    assert {code for code, error_class in BY_CODE.items() if predicate(error_class)} == codes


@pytest.mark.parametrize("error_class", PUBLIC, ids=lambda item: item.__name__)
def test_every_class_says_what_happened_and_survives_pickle_and_copy(error_class: type[KafkaError]) -> None:
    assert error_class.__doc__
    assert error_class.__doc__.strip().endswith(".")
    assert str(error_class())
    error = error_class("orders-3: refused by broker 1", possibly_written=True)
    error.requires_abort = True
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is error_class
        assert str(twin) == "orders-3: refused by broker 1"
        assert (twin.code, twin.possibly_written, twin.requires_abort) == (error.code, True, True)


@pytest.mark.parametrize(
    ("error_class", "bases", "retriable", "fatal"),
    [
        (ConfigError, (ValueError,), False, False),
        (RecordValidationError, (ValueError,), False, False),
        (ProtocolError, (), False, False),
        (ConnectionFailedError, (InvalidMetadataError,), True, False),
        (DeliveryTimeoutError, (KafkaTimeoutError, TimeoutError), True, False),
        (MetadataTimeoutError, (DeliveryTimeoutError,), True, False),
        (BufferTimeoutError, (KafkaTimeoutError, TimeoutError), True, False),
        (CloseTimeoutError, (KafkaTimeoutError, TimeoutError), False, False),
        (BufferFullError, (anyio.WouldBlock,), True, False),
        (MetadataNotReadyError, (anyio.WouldBlock,), True, False),
        (ProducerCrashedError, (), False, True),
    ],
    ids=lambda item: getattr(item, "__name__", None),
)
def test_our_own_errors_are_also_what_python_and_anyio_call_them(
    error_class: type[KafkaError], bases: tuple[type, ...], retriable: bool, fatal: bool
) -> None:
    error = error_class("text")
    assert all(isinstance(error, base) for base in (KafkaError, *bases))
    assert (error.code, error.is_retriable, error.is_fatal, error.possibly_written) == (
        None,
        retriable,
        fatal,
        False,
    )


def test_an_error_for_a_code_names_the_code_and_what_the_caller_adds() -> None:
    error = error_for_code(6, "orders-3 at broker 2")
    assert type(error) is NotLeaderOrFollowerError
    assert str(error) == "NOT_LEADER_OR_FOLLOWER (6): orders-3 at broker 2"
    assert not error.possibly_written
    assert error_for_code(7, possibly_written=True).possibly_written


def test_without_a_message_the_text_is_what_the_code_means() -> None:
    assert str(error_for_code(90)).startswith("PRODUCER_FENCED (90): A newer producer")
    assert str(ProducerFencedError()).startswith("A newer producer")
    assert "\n" not in str(DeliveryTimeoutError())


@pytest.mark.parametrize("code", [-2, 134, 32767])
def test_an_unknown_code_keeps_its_number_and_is_not_retried(code: int) -> None:
    error = error_for_code(code, "orders-3", possibly_written=True)
    assert type(error) is UnknownKafkaError
    assert (error.code, error.is_retriable, error.is_fatal, error.possibly_written) == (
        code,
        False,
        False,
        True,
    )
    assert str(code) in str(error)
    assert "orders-3" in str(error)
    assert pickle.loads(pickle.dumps(error)).code == code


def test_code_zero_is_no_error() -> None:
    with pytest.raises(ValueError, match="success"):
        error_for_code(0)


def test_marking_one_instance_leaves_its_class_alone() -> None:
    TransactionAbortableError("x", possibly_written=True)
    error = NotLeaderOrFollowerError("x")
    error.requires_abort = True
    assert not TransactionAbortableError("y").possibly_written
    assert not NotLeaderOrFollowerError("y").requires_abort


def test_a_second_class_for_a_code_is_refused() -> None:
    with pytest.raises(TypeError, match="NotLeaderOrFollowerError"):
        type("Twin", (KafkaError,), {}, code=6)  # type: ignore[call-overload]
    assert BY_CODE[6] is NotLeaderOrFollowerError


def test_a_users_subclass_takes_nothing_from_the_table() -> None:
    class MineError(NotLeaderOrFollowerError):
        pass

    assert (MineError("x").code, str(MineError())) == (6, NotLeaderOrFollowerError.summary)
    assert type(error_for_code(6)) is NotLeaderOrFollowerError


def test_a_config_error_names_its_option_across_pickle() -> None:
    error = pickle.loads(pickle.dumps(ConfigError("linger must be …", option="linger")))
    assert error.option == "linger"
    assert ConfigError("x").option is None


def test_all_is_sorted_and_complete() -> None:
    assert len(set(krafka.errors.__all__)) == len(krafka.errors.__all__)
    assert {item.__name__ for item in PUBLIC} >= {c.__name__ for c in BY_CODE.values()}
