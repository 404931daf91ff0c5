"""Producers that are not Python."""
