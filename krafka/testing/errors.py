"""What goes wrong with a test cluster, apart from the client under test."""

from __future__ import annotations


class KafkaClusterError(RuntimeError):
    """The test cluster could not do what was asked: start, stop, create a topic, read records back."""


class MissingExtraError(ImportError):
    """A package of the ``testing`` extra is not installed.

    Only what starts a real Kafka or reads from it needs the extra; importing :mod:`krafka.testing` does not.
    """

    def __init__(self, package: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed; "
            f"install it with: pip install 'krafka[testing]'",
            name=package,
        )


class PortInUseError(KafkaClusterError):
    """A broker found one of its ports taken by somebody else between choosing it and binding it."""


class RefusedError(KafkaClusterError):
    """A broker refused what was asked of it, with one of Kafka's error codes."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code
