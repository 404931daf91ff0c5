"""The error of a schema registry, which is no broker."""

from __future__ import annotations

from krafka.errors._base import KafkaError


class SchemaRegistryError(KafkaError):
    """A schema registry refused a request, could not be asked, or answered nonsense; the text says which.

    A record whose schema was asked for was not sent. The next record asks again: failures are not kept.
    `is_retriable` is True where the registry may answer later, with the retries of `SchemaRegistry` already
    made.
    """

    def __init__(
        self,
        message: str = "",
        *,
        url: str | None = None,
        subject: str | None = None,
        status: int | None = None,
        registry_code: int | None = None,
        registry_message: str | None = None,
        is_retriable: bool = False,
        possibly_written: bool = False,
    ) -> None:
        super().__init__(message, possibly_written=possibly_written)
        self.url = url
        """The registry that was asked last, without credentials."""
        self.subject = subject
        """The subject it was about, None where it was about an id."""
        self.status = status
        """HTTP's status, None where there was no answer."""
        self.registry_code = registry_code
        """The registry's own code, such as 40401 for a subject it does not know; None where it gave none."""
        self.registry_message = registry_message
        """The registry's own words, None where it gave none."""
        self.is_retriable = is_retriable
