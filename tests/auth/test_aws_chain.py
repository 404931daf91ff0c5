"""AWS_MSK_IAM with what AWS's tools find: each place they look at, on loopback; renewal, and what goes wrong."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from botocore.credentials import RefreshableCredentials, SSOProvider
from fake_aws import METADATA, SECRET, SESSION, SSO_TOKEN, TOKEN, FakeAws, refusal
from loopback_http import Answer
from told import everything_told, take

from krafka.auth import AwsMskIam
from krafka.errors import AuthenticationError, ConfigError, ConnectionFailedError, KafkaError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

HOST = "b-1.orders.abcdef.c2.kafka.eu-central-1.amazonaws.com"
ELSEWHERE = "kafka.example.org"
ARN = "arn:aws:iam::123456789012:role/orders"
ACCEPTED = b'{"version":"2020_10_22","request-id":"1"}'


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    with FakeAws() as found:
        yield found


@pytest.fixture(autouse=True)
def machine(aws: FakeAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with nothing of AWS but a metadata service, and the ways to AWS's services that lead to the fake."""
    import os

    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in {
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": aws.url,
        "AWS_METADATA_SERVICE_TIMEOUT": "5",
        "AWS_ENDPOINT_URL_STS": aws.url,
        "AWS_ENDPOINT_URL_SSO": aws.url,
        "AWS_MAX_ATTEMPTS": "1",
        "NO_PROXY": "*",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def write_profile(tmp_path: Path, text: str, file: str = "config") -> None:
    (tmp_path / ".aws").mkdir(exist_ok=True)
    (tmp_path / ".aws" / file).write_text(text)


async def payload(auth: AwsMskIam, host: str = HOST) -> dict[str, str]:
    (sent,) = take(await auth.begin(host), [ACCEPTED])
    told: dict[str, str] = json.loads(sent)
    return told


async def key(auth: AwsMskIam, host: str = HOST) -> str:
    """The access key that was signed with."""
    return (await payload(auth, host))["x-amz-credential"].split("/")[0]


async def failure(auth: AwsMskIam, host: str = HOST) -> KafkaError:
    with pytest.raises(KafkaError) as caught:
        await auth.begin(host)
    told = everything_told(caught.value)
    assert SECRET not in told
    assert SESSION not in told
    return caught.value


# -- the places it looks at ------------------------------------------------------------------------------------------


async def test_the_environment_comes_first(aws: FakeAws, machine: pytest.MonkeyPatch) -> None:
    machine.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    machine.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    machine.setenv("AWS_SESSION_TOKEN", SESSION)
    told = await payload(AwsMskIam.from_default_chain())
    assert told["x-amz-credential"].startswith("AKIAENVIRONMENT/")
    assert told["x-amz-security-token"] == SESSION
    assert aws.asked == []


async def test_a_profile_of_the_files(tmp_path: Path, machine: pytest.MonkeyPatch) -> None:
    write_profile(
        tmp_path,
        "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = s\n"
        "[orders]\naws_access_key_id = AKIAORDERS\naws_secret_access_key = s\n",
        "credentials",
    )
    assert await key(AwsMskIam.from_default_chain()) == "AKIADEFAULT"
    assert await key(AwsMskIam.from_default_chain(profile="orders")) == "AKIAORDERS"
    machine.setenv("AWS_PROFILE", "orders")
    assert await key(AwsMskIam.from_default_chain()) == "AKIAORDERS"


async def test_an_instances_metadata(aws: FakeAws) -> None:
    told = await payload(AwsMskIam.from_default_chain())
    assert told["x-amz-credential"].startswith("ASIAINSTANCE1/")
    assert told["x-amz-security-token"] == SESSION
    assert {asked.path for asked in aws.asked} == {TOKEN, METADATA, f"{METADATA}the-role"}


async def test_a_pods_service_account(aws: FakeAws, machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-web-identity")
    machine.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    machine.setenv("AWS_ROLE_ARN", ARN)
    machine.setenv("AWS_REGION", "eu-west-1")
    assert await key(AwsMskIam.from_default_chain()) == "ASIAWEB1"
    assert aws.asked[-1].form["WebIdentityToken"] == "a-web-identity"
    assert aws.asked[-1].form["RoleArn"] == ARN


async def test_a_containers_endpoint(aws: FakeAws, machine: pytest.MonkeyPatch) -> None:
    machine.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{aws.url}/container")
    machine.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "let-me-in")
    assert await key(AwsMskIam.from_default_chain()) == "ASIACONTAINER1"


async def test_an_sso_session(aws: FakeAws, machine: pytest.MonkeyPatch, tmp_path: Path) -> None:
    start = "https://sso.example.org/start"
    write_profile(
        tmp_path,
        f"[profile people]\nsso_start_url = {start}\nsso_region = eu-central-1\n"
        "sso_account_id = 123456789012\nsso_role_name = orders\n",
    )
    cache = tmp_path / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    machine.setattr(SSOProvider, "_SSO_TOKEN_CACHE_DIR", str(cache))  # it looked at HOME when it was imported
    name = hashlib.sha1(start.encode()).hexdigest()
    login = {"startUrl": start, "accessToken": SSO_TOKEN, "expiresAt": "2999-01-01T00:00:00Z"}
    (cache / f"{name}.json").write_text(json.dumps(login))
    assert await key(AwsMskIam.from_default_chain(profile="people")) == "ASIASSO1"
    (cache / f"{name}.json").write_text(json.dumps(login | {"expiresAt": "2001-01-01T00:00:00Z"}))
    error = await failure(AwsMskIam.from_default_chain(profile="people"))
    assert isinstance(error, AuthenticationError)
    assert "SSO" in str(error)


async def test_a_process_of_the_profile(tmp_path: Path) -> None:
    program = tmp_path / "give.py"
    keys = {"Version": 1, "AccessKeyId": "AKIAPROCESS", "SecretAccessKey": SECRET}
    program.write_text(f"print({json.dumps(keys)!r})")
    write_profile(tmp_path, f"[default]\ncredential_process = {sys.executable} {program}\n")
    assert await key(AwsMskIam.from_default_chain()) == "AKIAPROCESS"


async def test_a_role_of_the_profile(aws: FakeAws, tmp_path: Path) -> None:
    write_profile(
        tmp_path,
        f"[profile orders]\nrole_arn = {ARN}\ncredential_source = Ec2InstanceMetadata\nregion = eu-west-3\n",
    )
    assert await key(AwsMskIam.from_default_chain(profile="orders")) == "ASIAROLE1"
    assert aws.asked[-1].form["RoleArn"] == ARN


async def test_a_role_that_is_asked_for(aws: FakeAws) -> None:
    auth = AwsMskIam.from_default_chain("eu-west-1", role_arn=ARN, external_id="for-orders")
    assert await key(auth) == "ASIAROLE1"
    form = aws.asked[-1].form
    assert (form["Action"], form["RoleArn"]) == ("AssumeRole", ARN)
    assert (form["RoleSessionName"], form["ExternalId"]) == ("krafka", "for-orders")
    assert "ASIAINSTANCE1/" in aws.asked[-1].headers["authorization"]
    assert "/eu-west-1/sts/" in aws.asked[-1].headers["authorization"]
    assert repr(auth) == f"AwsMskIam.from_default_chain(region='eu-west-1', profile=None, role_arn='{ARN}')"


# -- the region ------------------------------------------------------------------------------------------------------


async def test_the_region_is_what_is_given_or_the_brokers_or_the_machines(
    machine: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def region(auth: AwsMskIam, host: str) -> str:
        return (await payload(auth, host))["x-amz-credential"].split("/")[2]

    write_profile(tmp_path, "[default]\nregion = sa-east-1\n")
    assert await region(AwsMskIam.from_default_chain(), ELSEWHERE) == "sa-east-1"
    machine.setenv("AWS_DEFAULT_REGION", "ca-central-1")
    assert await region(AwsMskIam.from_default_chain(), ELSEWHERE) == "ca-central-1"
    machine.setenv("AWS_REGION", "eu-west-1")
    assert await region(AwsMskIam.from_default_chain(), ELSEWHERE) == "eu-west-1"
    assert await region(AwsMskIam.from_default_chain(), HOST) == "eu-central-1"
    assert await region(AwsMskIam.from_default_chain("us-east-2"), HOST) == "us-east-2"
    serverless = "boot-abc.c1.kafka-serverless.ap-southeast-2.amazonaws.com"
    assert await region(AwsMskIam.from_default_chain(), serverless) == "ap-southeast-2"


async def test_without_a_region_the_error_says_where_one_could_be() -> None:
    error = await failure(AwsMskIam.from_default_chain(), ELSEWHERE)
    assert isinstance(error, AuthenticationError)
    assert f"the region of {ELSEWHERE} is unknown" in str(error)
    assert "AWS_REGION" in str(error)


# -- renewal ---------------------------------------------------------------------------------------------------------


async def test_credentials_are_asked_for_once_while_they_are_good(aws: FakeAws) -> None:
    auth = AwsMskIam.from_default_chain()
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(key, auth)
    assert await key(auth) == "ASIAINSTANCE1"
    assert aws.given["INSTANCE"] == 1


async def test_credentials_are_renewed_before_they_expire(aws: FakeAws) -> None:
    aws.lifetime = 14 * 60  # less than the quarter of an hour before its end in which botocore renews
    auth = AwsMskIam.from_default_chain("eu-west-1", role_arn=ARN)
    await key(auth)
    before = aws.given["ROLE"]
    assert await key(auth) == f"ASIAROLE{before + 1}"
    aws.lifetime = 3600
    assert await key(auth) == f"ASIAROLE{before + 2}"
    assert await key(auth) == f"ASIAROLE{before + 2}"


async def test_a_renewal_that_fails_leaves_what_is_still_good(
    aws: FakeAws, caplog: pytest.LogCaptureFixture
) -> None:
    auth = AwsMskIam.from_default_chain("eu-west-1", role_arn=ARN)
    aws.lifetime = 12 * 60
    await key(auth)
    given = aws.given["ROLE"]
    aws.faults.extend([refusal("AccessDenied", "no more")] * 2)
    caplog.set_level(logging.CRITICAL, logger="botocore")
    assert await key(auth) == f"ASIAROLE{given}"
    assert aws.given["ROLE"] == given


async def test_expired_credentials_are_renewed_or_the_failure_told(
    aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RefreshableCredentials, "_seconds_remaining", lambda _: -1.0)
    error = await failure(AwsMskIam.from_default_chain("eu-west-1", role_arn=ARN))
    assert isinstance(error, ConnectionFailedError)
    assert "still expired" in str(error)


# -- what goes wrong -------------------------------------------------------------------------------------------------


async def test_where_nothing_is_found_that_is_final(aws: FakeAws, machine: pytest.MonkeyPatch) -> None:
    machine.setenv("AWS_EC2_METADATA_DISABLED", "true")
    error = await failure(AwsMskIam.from_default_chain())
    assert isinstance(error, AuthenticationError)
    assert "no AWS credentials" in str(error)
    assert "AWS_ACCESS_KEY_ID" in str(error)


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (
            refusal("AccessDenied", "User may not assume this role"),
            AuthenticationError,
            "User may not assume",
        ),
        (refusal("ExpiredToken", "The token expired", 400), AuthenticationError, "The token expired"),
        (refusal("IDPCommunicationError", "ask again", 400), ConnectionFailedError, "ask again"),
        (refusal("Throttling", "Rate exceeded", 400), ConnectionFailedError, "Rate exceeded"),
        (refusal("InternalFailure", "oh", 500), ConnectionFailedError, "InternalFailure"),
        (Answer(503, "<html>away</html>", "text/html"), ConnectionFailedError, "503"),
        (Answer(200, "no XML", "text/xml"), AuthenticationError, "ResponseParserError"),
    ],
    ids=["denied", "expired", "identity provider", "throttled", "internal", "away", "nonsense"],
)
async def test_a_refusal_is_final_and_a_fault_is_not(
    fault: Answer,
    kind: type[KafkaError],
    words: str,
    aws: FakeAws,
    machine: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "token").write_text("a-web-identity")
    machine.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    machine.setenv("AWS_ROLE_ARN", ARN)
    machine.setenv("AWS_REGION", "eu-west-1")
    aws.faults.extend([fault] * 8)
    auth = AwsMskIam.from_default_chain()
    error = await failure(auth)
    assert type(error) is kind
    assert words in str(error)
    assert error.__cause__ is not None
    aws.faults.clear()
    assert await key(auth) == "ASIAWEB1"


async def test_a_service_that_is_not_there_is_asked_again(
    machine: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("a-web-identity")
    machine.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    machine.setenv("AWS_ROLE_ARN", ARN)
    machine.setenv("AWS_REGION", "eu-west-1")
    machine.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    error = await failure(AwsMskIam.from_default_chain())
    assert isinstance(error, ConnectionFailedError)
    assert "http://127.0.0.1:1" in str(error)


async def test_a_missing_file_or_profile_is_named(machine: pytest.MonkeyPatch) -> None:
    assert "'nobody'" not in repr(AwsMskIam.from_default_chain())
    error = await failure(AwsMskIam.from_default_chain(profile="nobody"))
    assert isinstance(error, AuthenticationError)
    assert "nobody" in str(error)
    machine.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/no/such/file")
    machine.setenv("AWS_ROLE_ARN", ARN)
    error = await failure(AwsMskIam.from_default_chain("eu-west-1"))
    assert isinstance(error, AuthenticationError)
    assert "/no/such/file" in str(error)


async def test_a_caller_that_gives_up_is_let_go(aws: FakeAws) -> None:
    import threading

    hold = threading.Event()
    aws.faults.append(Answer(hold=hold))
    try:
        with anyio.move_on_after(0.2) as scope:
            await AwsMskIam.from_default_chain().begin(HOST)
        assert scope.cancelled_caught
    finally:
        hold.set()


# -- what it is made of ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"region": "Paris"}, "region must be a region of AWS"),
        ({"profile": ""}, "profile must not be empty"),
        ({"role_arn": 1}, "role_arn must be str, not int"),
        ({"role_arn": ARN, "role_session_name": ""}, "role_session_name must not be empty"),
        ({"role_arn": ARN, "external_id": "\0"}, "external_id must not contain the character NUL"),
        ({"external_id": "a"}, "external_id is for a role: give role_arn, too"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        AwsMskIam.from_default_chain(**arguments)
    assert said in str(caught.value)


def test_making_it_asks_nobody_and_reads_nothing(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    assert isinstance(AwsMskIam.from_default_chain(profile="nobody"), AwsMskIam)
    assert aws.asked == []


def test_without_the_extra_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krafka.auth._msk_iam.find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'krafka\[aws\]'"):
        AwsMskIam.from_default_chain()
