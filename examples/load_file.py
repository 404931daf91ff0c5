"""Loads a file into a topic, line by line, as fast as the cluster takes them; memory does not grow with the file.

python load_file.py localhost:9092 orders lines.txt
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import anyio.to_thread

import krafka


async def load(bootstrap_servers: str, topic: str, path: Path) -> int:
    """Send every line as one record; return how many failed."""
    failed = 0
    async with krafka.Producer(bootstrap_servers, compression="lz4", linger=0.01) as producer:
        with path.open("rb") as lines:
            while chunk := await anyio.to_thread.run_sync(lines.readlines, 1 << 20):
                result = await producer.send_many(topic, (line.removesuffix(b"\n") for line in chunk))
                failed += len(result.failed)
                for index, error in result.failed:
                    print(f"{chunk[index][:40]!r}...: {error}", file=sys.stderr)
    return failed


def main() -> int:
    """Run `load` with the command line's arguments."""
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    bootstrap_servers, topic, name = sys.argv[1:]
    return 1 if anyio.run(load, bootstrap_servers, topic, Path(name)) else 0


if __name__ == "__main__":
    sys.exit(main())
