"""Who a client is to the brokers: one object for each way to log in, given to a producer as `auth`."""

from krafka.auth._assertion import SignedAssertion
from krafka.auth._base import Auth
from krafka.auth._gssapi import Gssapi
from krafka.auth._msk_iam import AwsMskIam
from krafka.auth._oauthbearer import OAuthBearer
from krafka.auth._oidc import OidcClientCredentials, OidcJwtBearer
from krafka.auth._plain import Plain
from krafka.auth._scram import ScramSha256, ScramSha512
from krafka.auth._tls import TlsConfig
from krafka.auth._token import Token

__all__ = [
    "Auth",
    "AwsMskIam",
    "Gssapi",
    "OAuthBearer",
    "OidcClientCredentials",
    "OidcJwtBearer",
    "Plain",
    "ScramSha256",
    "ScramSha512",
    "SignedAssertion",
    "TlsConfig",
    "Token",
]
