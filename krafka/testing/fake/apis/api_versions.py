"""ApiVersions: which APIs this cluster speaks in which versions, and which transactions (KIP-584, KIP-890)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka._wire.api_versions import (
    ApiVersionsResponse,
    ApiVersionsResponseFinalizedFeatureKey,
    ApiVersionsResponseSupportedFeatureKey,
    ApiVersionsResponseVersion,
)
from krafka.testing.fake.apis.handler import ApiHandler, Call, no_places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from krafka._wire.api_versions import ApiVersionsRequest
    from krafka.testing.fake.cluster import FakeCluster

API_KEY = 18
UNSUPPORTED_VERSION = 35
NEWEST_TRANSACTION_VERSION = 2
_FEATURES_FROM = 3
_TRANSACTIONS = "transaction.version"


def _answer(call: Call, _body: ApiVersionsRequest) -> ApiVersionsResponse:
    fault = call.strike.code_for()
    response = ApiVersionsResponse(
        error_code=fault.error_code if fault else 0, api_keys=_listed(call.cluster.api_ranges)
    )
    if call.request.version >= _FEATURES_FROM:
        _tell_features(response, call.cluster)
    return response


def _tell_features(response: ApiVersionsResponse, cluster: FakeCluster) -> None:
    transaction_version = cluster.transaction_version
    response.supported_features = [
        ApiVersionsResponseSupportedFeatureKey(
            name=_TRANSACTIONS, min_version=0, max_version=NEWEST_TRANSACTION_VERSION
        )
    ]
    response.finalized_features_epoch = cluster.features_epoch
    if transaction_version:
        # A feature at level 0 is not listed.
        response.finalized_features = [
            ApiVersionsResponseFinalizedFeatureKey(
                name=_TRANSACTIONS,
                max_version_level=transaction_version,
                min_version_level=transaction_version,
            )
        ]


def refuse_version(ranges: Mapping[int, tuple[int, int]]) -> ApiVersionsResponse:
    """The answer, in version 0, to an ApiVersions request in a version this cluster does not know (KIP-511)."""
    own = {API_KEY: ranges[API_KEY]} if API_KEY in ranges else {}
    return ApiVersionsResponse(error_code=UNSUPPORTED_VERSION, api_keys=_listed(own))


def _listed(ranges: Mapping[int, tuple[int, int]]) -> list[ApiVersionsResponseVersion]:
    return [
        ApiVersionsResponseVersion(api_key=key, min_version=first, max_version=last)
        for key, (first, last) in sorted(ranges.items())
    ]


HANDLER = ApiHandler("ApiVersions", no_places, _answer)
