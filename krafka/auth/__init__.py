"""Who a client is to the brokers: one object for each way to log in, given to a producer as `auth`."""

from krafka.auth._base import Auth

__all__ = ["Auth"]
