"""Credentials from where every tool of AWS looks for them, by botocore, which renews them."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from krafka.auth._foreign import without_frames
from krafka.auth._secret import Secret
from krafka.auth._sigv4 import Credentials
from krafka.errors import AuthenticationError, ConnectionFailedError

if TYPE_CHECKING:
    from krafka.errors import KafkaError

_PASSING_CODES = frozenset(("IDPCommunicationError", "RequestTimeout", "Throttling", "ThrottlingException"))
"""Errors of AWS's services that pass, though their status says that the request is wrong."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role to assume with the credentials that were found."""

    arn: str
    session_name: str
    external_id: str | None


class Chain:
    """botocore's default chain. `load` may be called from any thread; it reads files and asks services of AWS."""

    def __init__(self, profile: str | None, region: str | None, role: Role | None) -> None:
        self._profile = profile
        self._region = region
        self._role = role
        self._lock = threading.Lock()
        self._found: Any = None
        self._default_region: str | None = None

    def __repr__(self) -> str:
        role = "" if self._role is None else f", role_arn={self._role.arn!r}"
        return f"profile={self._profile!r}{role}"

    def load(self) -> tuple[Credentials, str | None]:
        """Credentials that are good now, and the region of the environment or the profile.

        Raises `AuthenticationError` where there are none, and `ConnectionFailedError` where a service that gives
        them could not be asked.
        """
        try:
            with self._lock:
                if self._found is None:
                    self._found = self._look()
            # botocore holds its own lock where it renews them, and lets the others go on with what is still good.
            frozen = self._found and self._found.get_frozen_credentials()
        except Exception as error:  # botocore's, and what broken files and answers raise inside it
            raise _explained(error, repr(self)) from without_frames(error)
        if not frozen:
            raise AuthenticationError(
                f"AWS_MSK_IAM: no AWS credentials ({self!r}): there are none in the environment (AWS_ACCESS_KEY_ID, "
                "AWS_WEB_IDENTITY_TOKEN_FILE), in ~/.aws, from the container or from the instance's metadata"
            )
        token = None if frozen.token is None else Secret(frozen.token)
        return Credentials(frozen.access_key, Secret(frozen.secret_key), token), self._default_region

    def _look(self) -> Any:
        import botocore.credentials  # type: ignore[import-untyped]  # noqa: PLC0415 - of an extra, and slow
        import botocore.session  # type: ignore[import-untyped]  # noqa: PLC0415 - the same

        session = botocore.session.Session(profile=self._profile)
        # botocore itself does not look at AWS_REGION, which Lambda and EKS set.
        region = os.environ.get("AWS_REGION") or session.get_config_variable("region")
        self._default_region = region
        if region or self._region:
            session.set_config_variable("region", self._region or region)
        found = session.get_credentials()
        if found is None or self._role is None:
            return found
        asked = {"RoleSessionName": self._role.session_name}
        if self._role.external_id is not None:
            asked["ExternalId"] = self._role.external_id
        fetcher = botocore.credentials.AssumeRoleCredentialFetcher(
            session.create_client, found, self._role.arn, asked
        )
        return botocore.credentials.DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")


def _explained(error: Exception, source: str) -> KafkaError:
    from botocore import exceptions  # noqa: PLC0415 - of an extra, and slow

    text = f"AWS_MSK_IAM: AWS credentials could not be had ({source}): {type(error).__name__}: {error}"
    unreachable = (
        exceptions.ConnectionError,
        exceptions.CredentialRetrievalError,
        exceptions.HTTPClientError,
        exceptions.MetadataRetrievalError,
    )
    if isinstance(error, exceptions.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code")
        if status >= 500 or status == 429 or code in _PASSING_CODES:
            return ConnectionFailedError(text)
    elif isinstance(error, unreachable) or _are_still_expired(error):
        return ConnectionFailedError(text)
    return AuthenticationError(text)


def _are_still_expired(error: Exception) -> bool:
    """Whether the service gave credentials whose time is over; it is the one RuntimeError that botocore raises."""
    return type(error) is RuntimeError
