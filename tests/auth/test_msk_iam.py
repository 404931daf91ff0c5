"""AWS_MSK_IAM with keys at hand: the payload that AWS's own library makes, and what a broker may answer to it."""

from __future__ import annotations

import calendar
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore import auth as botocore_auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given, settings
from hypothesis import strategies as st
from told import everything_told, take

from krafka import __version__
from krafka.auth import AwsMskIam
from krafka.auth._secret import Secret
from krafka.auth._sigv4 import LIFETIME, Credentials, connect_payload
from krafka.errors import AuthenticationError, ConfigError, ProtocolError

pytestmark = pytest.mark.anyio

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "msk_iam.json").read_text())
HOST = "b-1.orders.abcdef.c2.kafka.us-east-1.amazonaws.com"
KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SESSION = "IQoJb3JpZ2luX2VjEJ//session=="
ACCEPTED = b'{"version":"2020_10_22","request-id":"3d1ae5b8"}'


def at(auth: AwsMskIam, now: float) -> AwsMskIam:
    """The same with a clock that stands still."""
    auth._clock = lambda: now
    return auth


async def payload(auth: AwsMskIam, host: str = HOST) -> dict[str, str]:
    (sent,) = take(await auth.begin(host), [ACCEPTED])
    told: dict[str, str] = json.loads(sent)
    return told


# -- the payload -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", GOLDEN["payloads"], ids=lambda case: case["name"])
async def test_the_payload_is_that_of_the_java_library(case: dict[str, Any]) -> None:
    theirs = case["payload"]
    now = calendar.timegm(time.strptime(theirs["x-amz-date"], "%Y%m%dT%H%M%SZ"))
    region = theirs["x-amz-credential"].split("/")[2]
    auth = AwsMskIam(case["access_key"], case["secret_key"], region, case["session_token"])
    ours = await payload(at(auth, now + 0.9), case["host"])
    assert ours.pop("user-agent") == f"krafka/{__version__}"
    assert ours == {name: value for name, value in theirs.items() if name != "user-agent"}


def test_the_golden_cases_differ_in_what_matters() -> None:
    cases = GOLDEN["payloads"]
    assert GOLDEN["library"] == "software.amazon.msk:aws-msk-iam-auth:2.3.2"
    assert len({case["payload"]["x-amz-credential"].split("/")[2] for case in cases}) >= 4
    assert {case["session_token"] is None for case in cases} == {True, False}


@settings(deadline=None)
@given(
    key=st.from_regex(r"[A-Z0-9]{16,24}", fullmatch=True),
    secret=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1),
    token=st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1),
    region=st.sampled_from(["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1"]),
    host=st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z0-9]{1,10}){1,4}", fullmatch=True),
    now=st.integers(0, 2**33),
)
def test_the_signature_is_botocores(
    key: str, secret: str, token: str | None, region: str, host: str, now: int
) -> None:
    keys = Credentials(key, Secret(secret), None if token is None else Secret(token))
    ours = json.loads(connect_payload(host, keys, region, now, "agent"))
    request = AWSRequest("GET", f"https://{host}/", params={"Action": "kafka-cluster:Connect"})
    signer = botocore_auth.SigV4QueryAuth(
        BotocoreCredentials(key, secret, token), "kafka-cluster", region, expires=LIFETIME
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore_auth, "get_current_datetime", lambda: datetime.fromtimestamp(now, UTC))
        signer.add_auth(request)
    theirs = {name.lower(): value for name, (value,) in parse_qs(urlsplit(request.url).query).items()}
    assert {name: ours[name] for name in theirs} == theirs
    assert set(ours) - set(theirs) == {"version", "host", "user-agent"}


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"])
async def test_the_time_is_utc_wherever_the_machine_is(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        told = await payload(at(AwsMskIam(KEY, SECRET, "us-east-1"), 1_798_761_599.999))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert told["x-amz-date"] == "20261231T235959Z"
    assert told["x-amz-credential"] == f"{KEY}/20261231/us-east-1/kafka-cluster/aws4_request"


async def test_each_authentication_is_signed_when_it_is_taken_and_good_for_15_minutes() -> None:
    auth = AwsMskIam(KEY, SECRET, "us-east-1", SESSION)
    now = 1_800_000_000.0
    auth._clock = lambda: now
    first = await payload(auth)
    steps = await auth.begin(HOST)
    # A clock that was put right meanwhile counts, and so does a long wait for the broker.
    now += 900
    (sent,) = take(steps, [ACCEPTED])
    second = json.loads(sent)
    assert (first["x-amz-date"], second["x-amz-date"]) == ("20270115T080000Z", "20270115T081500Z")
    assert first["x-amz-expires"] == second["x-amz-expires"] == "900"
    assert first["x-amz-signature"] != second["x-amz-signature"]
    assert second["x-amz-security-token"] == SESSION


def test_who_is_refused_is_told_to_look_at_the_clock_too() -> None:
    auth = at(AwsMskIam(KEY, SECRET, "us-east-1", SESSION), 1_800_000_000.0)
    assert auth.advice() == (
        f"check that AwsMskIam('{KEY}', region='us-east-1') may kafka-cluster:Connect to this cluster, that its region "
        "is this one, and that the clock is right: it is 2027-01-15 08:00:00 UTC here"
    )


# -- the broker's answer ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("judged", GOLDEN["answers"], ids=lambda judged: judged["answer"][:40] or "nothing")
async def test_an_answer_is_taken_where_java_takes_it(judged: dict[str, Any]) -> None:
    steps = await AwsMskIam(KEY, SECRET, "us-east-1").begin(HOST)
    answer = judged["answer"].encode()
    # Java's parser also refuses fields that it does not know, which a later MSK may add.
    if judged["accepted"] or "more" in judged["answer"]:
        take(steps, [answer])
        return
    with pytest.raises(ProtocolError) as caught:
        take(steps, [answer])
    assert f"the answer of {HOST}" in str(caught.value)
    assert "9098" in str(caught.value)
    assert (answer.decode() or "It answered nothing") in str(caught.value)


@settings(deadline=None)
@given(position=st.integers(0, len(ACCEPTED)), put=st.binary(max_size=8), cut=st.integers(0, 8))
def test_a_spoilt_answer_is_refused_or_means_the_same(position: int, put: bytes, cut: int) -> None:
    spoilt = ACCEPTED[:position] + put + ACCEPTED[position + cut :]
    steps = AwsMskIam(KEY, SECRET, "us-east-1", SESSION)._steps(
        HOST, Credentials(KEY, Secret(SECRET), Secret(SESSION)), "us-east-1"
    )
    try:
        take(steps, [spoilt])
    except (AuthenticationError, ProtocolError) as error:
        told = everything_told(error)
        assert SECRET not in told
        assert SESSION not in told
    else:
        assert json.loads(spoilt)["version"] == "2020_10_22"


@settings(deadline=None)
@given(st.binary(max_size=300) | st.just(b"[" * 100_000) | st.just(b"9" * 10_000))
def test_any_bytes_are_refused_in_our_words(answer: bytes) -> None:
    steps = AwsMskIam(KEY, SECRET, "us-east-1")._steps(HOST, Credentials(KEY, Secret(SECRET)), "us-east-1")
    with pytest.raises(ProtocolError) as caught:
        take(steps, [answer])
    assert len(str(caught.value)) < 1500


# -- what it is made of ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("", SECRET, "us-east-1"), "access_key must not be empty"),
        ((7, SECRET, "us-east-1"), "access_key must be str, not int"),
        ((KEY, "", "us-east-1"), "secret_key must not be empty"),
        ((KEY, SECRET + "\ud800", "us-east-1"), "secret_key must be valid Unicode text"),
        ((KEY, SECRET.encode(), "us-east-1"), "secret_key must be str, not bytes"),
        (
            (KEY, SECRET, "Frankfurt"),
            "region must be a region of AWS such as 'eu-central-1', got 'Frankfurt'",
        ),
        ((KEY, SECRET, None), "got None"),
        ((KEY, SECRET, "us-east-1", ""), "session_token must not be empty"),
        ((KEY, SECRET, "us-east-1", SESSION + "\0"), "session_token must not contain the character NUL"),
    ],
)
def test_a_wrong_argument_is_named_and_no_secret_shown(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        AwsMskIam(*arguments)
    assert said in str(caught.value)
    assert caught.value.option == "auth"
    told = everything_told(caught.value)
    assert SECRET not in told
    assert SESSION not in told


def test_it_shows_whose_key_it_is_and_not_the_key() -> None:
    auth = AwsMskIam(KEY, SECRET, "us-east-1", SESSION)
    assert repr(auth) == f"AwsMskIam('{KEY}', region='us-east-1')"
    assert SECRET not in repr(vars(auth))
    assert SESSION not in repr(vars(auth))
    assert (auth.mechanism, auth.reveals_secret) == ("AWS_MSK_IAM", True)
