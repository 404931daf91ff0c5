"""The command line: `krafka demo` and `krafka produce`. It needs the `cli` extra; the library never imports it."""
