"""The checks of the options that say how safe connections are: `tls` and `auth`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from krafka.errors import ConfigError

if TYPE_CHECKING:
    import ssl

    from krafka._option import Option
    from krafka.auth import Auth, TlsConfig


def check_tls(option: Option, value: Any) -> bool | ssl.SSLContext | TlsConfig:
    """False, True, a `TlsConfig` or a context for clients."""
    if isinstance(value, bool):
        return value
    import ssl  # noqa: PLC0415 - costs as much to import as half of krafka, and most producers do without

    from krafka.auth import TlsConfig  # noqa: PLC0415 - as above

    if isinstance(value, TlsConfig):
        return value
    if not isinstance(value, ssl.SSLContext):
        raise option.error("must be False, True, a krafka.auth.TlsConfig or an ssl.SSLContext", value)
    if value.protocol is ssl.PROTOCOL_TLS_SERVER:
        raise option.error("must be a context for clients, as ssl.create_default_context() makes", value)
    return value


def check_auth(option: Option, value: Any) -> Auth | None:
    """None or an object of `krafka.auth`; whatever else was given is not shown, since it may be a password."""
    if value is None:
        return None
    from krafka.auth import Auth  # noqa: PLC0415 - most producers do without

    if not isinstance(value, Auth):
        kind = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise ConfigError(
            f"{option.name} must be an object of krafka.auth, such as Plain(username, password), got {kind} (its value "
            "is not shown)",
            option=option.name,
        )
    return value
