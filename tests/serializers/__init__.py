"""Serializers: their bytes, held against what other libraries read, and a schema registry that fails on demand."""
