"""Checksums of the protocol: CRC-32C of record batches (Castagnoli, by the crc32c library's hardware instructions)."""

from libc.stdint cimport uint32_t

import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec


def _load():
    """The library's function, without the rest of the library where that can be had.

    Importing the library has it ask importlib.metadata for its version, and that takes half as long as all of krafka.
    """
    if "crc32c" not in sys.modules:
        package = find_spec("crc32c")
        if package is not None and package.submodule_search_locations is not None:
            spec = PathFinder.find_spec("crc32c._crc32c", package.submodule_search_locations)
            if spec is not None:
                extension = module_from_spec(spec)
                spec.loader.exec_module(extension)
                if hasattr(extension, "crc32c"):
                    return extension.crc32c
    from crc32c import crc32c

    return crc32c


cdef object _crc32c = _load()


cdef uint32_t crc32c_of(object header_tail, object body) except? 0:
    return <uint32_t>_crc32c(body, _crc32c(header_tail))


def crc32c(*parts) -> int:
    """Return the CRC-32C of the given bytes-like parts taken as one run of bytes."""
    cdef object checksum = 0
    for part in parts:
        checksum = _crc32c(part, checksum)
    return checksum
