"""Compiled parts: encoding records, hashing keys, checksums, the append path and the wire codec."""
