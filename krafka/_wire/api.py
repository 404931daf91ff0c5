"""Which APIs this client speaks, in which versions, and which of them to use with a given broker."""

from __future__ import annotations

from .catalogue import APIS
from .schema import Api

__all__ = ["APIS", "APIS_BY_KEY", "Api", "negotiate"]

APIS_BY_KEY: dict[int, Api] = {api.key: api for api in APIS}


def negotiate(api: Api, broker_min: int, broker_max: int) -> int | None:
    """The newest version that both this client and the broker speak, or None when there is none.

    The broker's range is the one in its ApiVersions response (KIP-35), both ends included.
    """
    version = min(api.max_version, broker_max)
    return version if version >= max(api.min_version, broker_min) else None
