"""Presets set options and nothing else: which, that overrides win, and that they say what they set."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest

from krafka import Acks, Compression, ProducerConfig
from krafka._presets import PRESETS
from krafka.errors import ConfigError

SERVERS = "localhost:9092"
EACH = pytest.mark.parametrize("name", PRESETS)


def preset(name: str, **overrides: Any) -> ProducerConfig:
    made = getattr(ProducerConfig, name)(SERVERS, **overrides)
    assert isinstance(made, ProducerConfig)
    return made


@EACH
def test_a_preset_is_the_options_it_sets(name: str) -> None:
    assert preset(name) == ProducerConfig(bootstrap_servers=SERVERS, **PRESETS[name])


@EACH
def test_no_preset_gives_up_acknowledgements_or_idempotence(name: str) -> None:
    made = preset(name)
    assert made.acks is Acks.ALL
    assert made.idempotent


def test_the_values() -> None:
    fast, quick, safe = (preset(name) for name in ("high_throughput", "low_latency", "durable"))
    assert (fast.compression, fast.batch_size, fast.linger) == (Compression.LZ4, 131072, 0.01)
    assert fast.buffer_memory == 64 << 20
    assert (quick.compression, quick.linger, quick.retry_backoff) == (Compression.NONE, 0.0, 0.02)
    assert quick.metadata_max_idle == 3600
    assert (safe.delivery_timeout, safe.max_block, safe.close_timeout) == (600, math.inf, 60)
    assert safe.retries is None


def test_overrides_win() -> None:
    made = preset("high_throughput", linger=0.5, compression="zstd", client_id="bills")
    assert (made.linger, made.compression, made.client_id) == (0.5, Compression.ZSTD, "bills")
    assert made.batch_size == PRESETS["high_throughput"]["batch_size"]
    assert not preset("low_latency", acks="leader").idempotent


def test_what_would_undo_durability_is_an_error() -> None:
    for undoing in ({"acks": "leader"}, {"acks": "none"}, {"max_in_flight": 6}):
        with pytest.raises(ConfigError, match=r"^idempotent=True must go with"):
            preset("durable", **undoing)
    assert not preset("durable", acks="leader", idempotent=False).idempotent


@EACH
def test_a_preset_says_what_it_sets(
    name: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, "krafka")
    made = preset(name)
    (message,) = caplog.messages
    assert message.startswith(f"preset {name}: ")
    for option in PRESETS[name]:
        assert f"{option}=" in message
        assert f"\n{option} = " in made.explain()
        assert f"{option}=" in repr(made) or getattr(made, option) == getattr(
            ProducerConfig(bootstrap_servers=SERVERS), option
        )
    assert capsys.readouterr() == ("", "")


def test_the_log_tells_the_value_in_force(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "krafka")
    preset("high_throughput", linger=0.5)
    assert "linger=0.5" in caplog.text
    assert "linger=0.01" not in caplog.text


def test_an_unknown_override_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="did you mean 'linger'"):
        preset("durable", lingr=1)
