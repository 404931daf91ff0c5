"""Not a client: the least work that still puts valid record batches on the wire and reads the acknowledgements."""
