"""Brokers end with their owner, however the owner ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from krafka.testing import KafkaClusterError
from krafka.testing._process import BrokerProcess, Watchdog

SLEEPER = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]
OWNER = """
import os, sys
from pathlib import Path
from krafka.testing._process import BrokerProcess, Watchdog
folder = Path(sys.argv[1])
watchdog = Watchdog()
watchdog.remove_folder(folder)
broker = BrokerProcess(1, [sys.executable, "-c", "import signal; signal.pause()"], folder / "log", watchdog)
broker.start()
if sys.argv[2] == "fork" and os.fork() == 0:
    # A child that outlives its parent keeps the parent's end of every pipe.
    sys.stdout.close()
    os.closerange(1, 3)
    import signal; signal.pause()
print(broker.process_id, watchdog.process_id, flush=True)
sys.stdin.read()
"""


def wait_for(condition: object, seconds: float = 90.0) -> bool:
    """Poll what another process does; it is nobody's child here, so no event tells."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def gone(process_id: int) -> bool:
    """True once the process does not exist or is only waiting for whoever inherited it to reap it."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        pass
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_owner_killed_takes_its_broker_along(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder), "plain"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
    ) as owner:
        assert owner.stdout is not None
        broker, watchdog = map(int, owner.stdout.readline().split())
        assert not gone(broker)
        owner.send_signal(number)
        owner.wait()
    assert wait_for(lambda: gone(broker))
    assert wait_for(lambda: gone(watchdog))
    assert not folder.exists()


def test_an_owner_whose_fork_lives_on_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder), "fork"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        start_new_session=True,
    ) as owner:
        assert owner.stdout is not None
        broker, watchdog = map(int, owner.stdout.readline().split())
        owner.kill()
        owner.wait()
        try:
            assert wait_for(lambda: gone(broker))
            assert wait_for(lambda: gone(watchdog))
        finally:
            os.killpg(owner.pid, signal.SIGKILL)


INTERRUPTED = """
import signal, sys, anyio
from krafka.testing import KafkaCluster
# A job in the background of a shell inherits that this signal is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
async def main():
    async with KafkaCluster() as cluster:
        print(cluster.sync.broker(1).process_id, cluster.sync.data_folder(1), flush=True)
        await anyio.sleep_forever()
anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.kafka
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_ctrl_c_stops_the_brokers(backend: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, backend],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
    ) as owner:
        assert owner.stdout is not None
        process_id, folder = owner.stdout.readline().decode().split()
        owner.send_signal(signal.SIGINT)
        try:
            _, complaint = owner.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            owner.kill()
            raise
    assert gone(int(process_id))
    assert not Path(folder).exists()
    assert complaint.decode().rstrip().endswith("KeyboardInterrupt")
    assert "logs are kept" not in complaint.decode()


@pytest.fixture
def watchdog() -> object:
    watchdog = Watchdog()
    yield watchdog
    watchdog.close()


def test_a_dismissed_watchdog_kills_nobody(tmp_path: Path) -> None:
    watchdog = Watchdog()
    broker = BrokerProcess(1, SLEEPER, tmp_path / "log", watchdog)
    broker.start()
    try:
        watchdog.close()
        assert gone(watchdog.process_id)
        assert broker.running
    finally:
        broker.kill()
    assert not broker.running


def test_a_broker_is_paused_resumed_and_terminated(tmp_path: Path, watchdog: Watchdog) -> None:
    broker = BrokerProcess(7, SLEEPER, tmp_path / "log", watchdog)
    broker.start()
    assert wait_for(lambda: "up" in broker.log())
    with pytest.raises(KafkaClusterError, match="broker 7 is already running"):
        broker.start()
    broker.pause()
    assert broker.running
    assert not broker.responsive
    assert not broker.wait(0)
    broker.terminate()
    assert broker.wait(90)
    assert not broker.running
    with pytest.raises(KafkaClusterError, match="broker 7 is not running, so it cannot be sent SIGCONT"):
        broker.resume()
    broker.start()
    assert broker.responsive
    broker.kill()
    assert broker.process_id is None


STUBBORN = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()",
]


def test_a_broker_that_was_asked_to_end_is_not_counted_on(tmp_path: Path, watchdog: Watchdog) -> None:
    broker = BrokerProcess(1, STUBBORN, tmp_path / "log", watchdog)
    broker.start()
    assert wait_for(lambda: "up" in broker.log())
    assert (broker.responsive, broker.ending) == (True, False)
    broker.terminate()
    assert (broker.running, broker.responsive, broker.ending) == (True, False, True)
    broker.kill()
    assert (broker.running, broker.ending) == (False, False)
    broker.start()
    assert (broker.responsive, broker.ending) == (True, False)
    broker.kill()


def test_losing_the_watchdog_leaves_the_broker_to_its_owner(tmp_path: Path, watchdog: Watchdog) -> None:
    broker = BrokerProcess(1, SLEEPER, tmp_path / "log", watchdog)
    os.kill(watchdog.process_id, signal.SIGKILL)
    assert wait_for(lambda: gone(watchdog.process_id))
    broker.start()
    broker.kill()
    assert not broker.running
