"""Transactions judged by other clients: while brokers fail, across delayed requests, and in whole programs."""
