"""AWS_MSK_IAM: logging in to Amazon MSK with an identity of AWS."""

from __future__ import annotations

import json
import re
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

import anyio.to_thread

from krafka._version import __version__
from krafka.auth._base import Auth
from krafka.auth._secret import hidden, required_text, taken
from krafka.auth._sigv4 import VERSION, Credentials, connect_payload
from krafka.errors import AuthenticationError, ConfigError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka.auth._base import Steps

_USER_AGENT = f"krafka/{__version__}"
_HOST_OF_MSK = re.compile(r"\.kafka(?:-serverless)?\.(?P<region>[a-z]+(?:-[a-z]+)+-\d+)\.")
_REGION = re.compile(r"[a-z0-9-]+")
_LONGEST_QUOTE = 200


class AwsMskIam(Auth):
    """An identity of AWS, for Amazon MSK with IAM access control (``AWS_MSK_IAM``).

    `access_key` and `secret_key` are a key pair, `session_token` is what belongs to a temporary one; `region` is the
    cluster's, such as ``"eu-central-1"``. What goes to a broker is signed at that moment and good for 15 minutes
    by this machine's clock, so that clock has to be right. Use it with `tls=True`: MSK takes it over TLS only.

    A temporary key pair given here ends when it expires; for keys that are renewed use `from_default_chain`.
    Raises `ConfigError` for an argument that cannot be right, and shows no key.
    """

    mechanism = "AWS_MSK_IAM"
    reveals_secret = True

    _clock: Callable[[], float] = staticmethod(time.time)

    def __init__(
        self, access_key: str, secret_key: str, region: str, session_token: str | None = None
    ) -> None:
        hidden_key = hidden(secret_key, "AwsMskIam", "secret_key")
        hidden_token = None if session_token is None else hidden(session_token, "AwsMskIam", "session_token")
        del secret_key, session_token  # before anything can fail, so that no traceback shows them
        self._region: str | None = _checked_region(region)
        self._keys = Credentials(
            required_text(access_key, "AwsMskIam", "access_key"),
            taken(hidden_key),
            None if hidden_token is None else taken(hidden_token),
        )

    @staticmethod
    def from_default_chain(
        region: str | None = None,
        profile: str | None = None,
        *,
        role_arn: str | None = None,
        role_session_name: str = "krafka",
        external_id: str | None = None,
    ) -> AwsMskIam:
        """The identity that AWS's tools find here: environment, profiles, SSO, roles, IRSA, container, instance.

        Needs the extra: ``pip install 'krafka[aws]'``. The order is botocore's. Credentials are looked for at the
        first connection, in a thread, kept, and renewed from 15 minutes before they expire; `profile` names a
        section of AWS's files in place of ``AWS_PROFILE``. With `role_arn` they serve to assume that role, with
        `role_session_name` and, where the role asks for one, `external_id`.

        The region is `region`, else the one in the broker's name, else ``AWS_REGION``, else the profile's.
        Raises `ConfigError` for a wrong argument and `ModuleNotFoundError` without the extra.
        """
        return _FromDefaultChain(region, profile, role_arn, role_session_name, external_id)

    def __repr__(self) -> str:
        """The key's id and the region; the key is not shown."""
        return f"AwsMskIam({self._keys.access_key!r}, region={self._region!r})"

    def advice(self) -> str:
        """What MSK refuses by, and the time by which it was signed: one that is minutes off counts as a wrong key."""
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(self._clock()))
        return (
            f"check that {self!r} may kafka-cluster:Connect to this cluster, that its region is this one, and that "
            f"the clock is right: it is {now} UTC here"
        )

    async def begin(self, host: str) -> Steps:
        """Return the one step there is, which is signed when it is taken."""
        return self._steps(host, self._keys, str(self._region))

    def _steps(self, host: str, keys: Credentials, region: str) -> Steps:
        _check((yield connect_payload(host, keys, region, self._clock(), _USER_AGENT)), host)


class _FromDefaultChain(AwsMskIam):
    """The same with keys that botocore finds and renews."""

    def __init__(
        self,
        region: str | None,
        profile: str | None,
        role_arn: str | None,
        role_session_name: str,
        external_id: str | None,
    ) -> None:
        if find_spec("botocore") is None:
            raise ModuleNotFoundError(
                "AwsMskIam.from_default_chain needs the package 'botocore', which is not installed; "
                "install it with: pip install 'krafka[aws]'",
                name="botocore",
            )
        from krafka.auth._aws_chain import Chain, Role  # noqa: PLC0415 - of an extra

        self._region = None if region is None else _checked_region(region)
        for name, given in (("profile", profile), ("role_arn", role_arn), ("external_id", external_id)):
            if given is not None:
                required_text(given, "AwsMskIam", name)
        required_text(role_session_name, "AwsMskIam", "role_session_name")
        if external_id is not None and role_arn is None:
            raise ConfigError("AwsMskIam: external_id is for a role: give role_arn, too", option="auth")
        role = None if role_arn is None else Role(role_arn, role_session_name, external_id)
        self._chain = Chain(profile, self._region, role)

    def __repr__(self) -> str:
        """What the chain was told."""
        return f"AwsMskIam.from_default_chain(region={self._region!r}, {self._chain!r})"

    async def begin(self, host: str) -> Steps:
        """Find credentials, or renew them, unless those at hand are good for a while; then as for fixed ones."""
        # A thread that waits for a service of AWS ends by botocore's own time limits.
        keys, default = await anyio.to_thread.run_sync(self._chain.load, abandon_on_cancel=True)
        region = self._region or _region_of(host) or default
        if region is None:
            raise AuthenticationError(
                f"AWS_MSK_IAM: the region of {host} is unknown: its name has none, and neither AWS_REGION nor the "
                "profile has one; give it: AwsMskIam.from_default_chain(region=...)"
            )
        return self._steps(host, keys, region)


def _check(answer: bytes, host: str) -> None:
    """Raise `ProtocolError` unless that is what a broker says that has accepted a payload."""
    try:
        said = json.loads(bytes(answer))
    except (ValueError, RecursionError) as error:
        raise _not_from_msk(answer, host, "is not JSON") from error
    if not isinstance(said, dict) or said.get("version") != VERSION:
        raise _not_from_msk(answer, host, f'has not "version": "{VERSION}"')
    if not isinstance(said.get("request-id"), str | None):
        raise _not_from_msk(answer, host, 'has a "request-id" that is no text')


def _not_from_msk(answer: bytes, host: str, what: str) -> ProtocolError:
    quoted = repr(bytes(answer[:_LONGEST_QUOTE]))[1:] if answer else "nothing"
    return ProtocolError(
        f"AWS_MSK_IAM: the answer of {host} {what}; is this a broker of Amazon MSK, and its port the one for IAM "
        f"(9098, from outside 9198)? It answered {quoted}"
    )


def _region_of(host: str) -> str | None:
    found = _HOST_OF_MSK.search(host.lower())
    return None if found is None else found["region"]


def _checked_region(region: object) -> str:
    if not isinstance(region, str) or not _REGION.fullmatch(region):
        raise ConfigError(
            f"AwsMskIam: region must be a region of AWS such as 'eu-central-1', got {region!r}", option="auth"
        )
    return region
