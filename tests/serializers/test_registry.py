"""The client of a schema registry: what it asks, what it keeps, and what it says when the registry fails."""

from __future__ import annotations

import json
import logging
import socket
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trustme

from krafka.errors import ConfigError, KafkaError, SchemaRegistryError
from krafka.serializers.schema_registry import RegisteredSchema, Schema, SchemaReference, SchemaRegistry
from krafka.serializers.schema_registry._http import MAX_ANSWER

from .fake_registry import FakeRegistry, Fault, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.anyio

STRING = Schema('{"type":"string"}')
LONG = Schema('{"type":"long"}')


def quick(url: str | list[str], **options: Any) -> SchemaRegistry:
    """A client that does not wait long between attempts."""
    return SchemaRegistry(url, **{"retry_backoff": 0.001, "retry_backoff_max": 0.002, **options})


async def failure(call: Awaitable[object]) -> SchemaRegistryError:
    with pytest.raises(SchemaRegistryError) as caught:
        await call
    return caught.value


# -- what it asks, and what it keeps ---------------------------------------------------------------------------------


async def test_a_schema_is_registered_found_and_read_back(fake: FakeRegistry) -> None:
    registry = quick(fake.url)
    subject = "odd/subject name%-value"
    made = await registry.register(subject, STRING)
    assert made == RegisteredSchema(1, STRING, subject)
    found = await registry.lookup(subject, STRING)
    assert found == RegisteredSchema(1, STRING, subject, 1)
    assert await registry.latest(subject) == found
    assert await registry.version(subject, 1) == found
    assert await registry.schema(1) == RegisteredSchema(1, STRING)
    assert found.reference("S") == SchemaReference("S", subject, 1)
    with pytest.raises(ValueError, match="id 1 was not asked for by subject and version"):
        made.reference("S")
    assert fake.paths()[0] == "POST /subjects/odd%2Fsubject%20name%25-value/versions"
    assert fake.asked[0].headers["content-type"] == "application/vnd.schemaregistry.v1+json"
    assert fake.asked[0].body == {"schema": STRING.text}


async def test_type_references_and_normalize_reach_the_registry(fake: FakeRegistry) -> None:
    reference = SchemaReference("other.json", "other", 3)
    schema = Schema('{"title":"T"}', "JSON", (reference,))
    registry = quick(fake.url)
    await registry.register("s", schema, normalize=True)
    assert fake.asked[0].query == {"normalize": ["true"]}
    assert fake.asked[0].body == {
        "schema": schema.text,
        "schemaType": "JSON",
        "references": [{"name": "other.json", "subject": "other", "version": 3}],
    }
    assert (await registry.latest("s")).schema == schema


async def test_answers_are_kept_but_for_the_latest_version(fake: FakeRegistry) -> None:
    registry = quick(fake.url)
    for _ in range(3):
        await registry.register("s", STRING)
        await registry.lookup("s", STRING)
        await registry.version("s", 1)
        await registry.schema(1)
    assert len(fake.asked) == 4
    await registry.register("other", STRING)
    await registry.register("s", LONG)
    assert (await registry.latest("s")).version == 2
    await registry.register("s", Schema('{"type":"int"}'))
    assert (await registry.latest("s")).version == 3
    assert len(fake.asked) == 9


async def test_what_many_ask_at_once_is_asked_once(fake: FakeRegistry) -> None:
    registry = quick(fake.url)
    ids: list[int] = []

    async def use() -> None:
        ids.append((await registry.register("s", STRING)).id)
        ids.append((await registry.latest("s")).id)

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(use)
    assert ids == [1] * 100
    assert fake.paths() == ["POST /subjects/s/versions", "GET /subjects/s/versions/latest"]


async def test_a_failure_is_shared_by_those_who_waited_and_kept_for_nobody(fake: FakeRegistry) -> None:
    registry = quick(fake.url)
    fake.faults.append(refusal(422, 42201, "Invalid schema"))
    failures: list[SchemaRegistryError] = []

    async def use() -> None:
        failures.append(await failure(registry.register("s", STRING)))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(use)
    assert len(fake.asked) == 1
    assert len({id(error) for error in failures}) == 20
    assert {(str(error), error.registry_code) for error in failures} == {
        (str(failures[0]), 42201),
    }
    assert (await registry.register("s", STRING)).id == 1


async def test_an_error_of_the_callers_own_reaches_all_as_it_is(fake: FakeRegistry) -> None:
    class SealedError(Exception):
        def __init__(self, *, vault: str) -> None:
            super().__init__(f"{vault} is sealed")

    async def none_today() -> str:
        await anyio.wait_all_tasks_blocked()
        raise SealedError(vault="the vault")

    registry = quick(fake.url, token=none_today)
    failures = []

    async def use() -> None:
        with pytest.raises(SealedError, match="the vault is sealed") as caught:
            await registry.register("s", STRING)
        failures.append(caught.value)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(use)
    assert len(failures) == 5
    assert fake.asked == []


async def test_cancelling_who_asked_first_leaves_the_others_an_answer(fake: FakeRegistry) -> None:
    registry = quick(fake.url)
    hold = threading.Event()
    fake.faults.append(Fault(hold=hold))
    got: list[int] = []
    first = anyio.CancelScope()

    async def ask_first() -> None:
        with first:
            await registry.register("s", STRING)

    async def ask_then() -> None:
        got.append((await registry.register("s", STRING)).id)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask_first)
        while not fake.asked:
            await anyio.wait_all_tasks_blocked()
            await anyio.lowlevel.checkpoint()
        for _ in range(5):
            tasks.start_soon(ask_then)
        await anyio.wait_all_tasks_blocked()
        assert got == []
        first.cancel()
    hold.set()
    assert got == [1] * 5
    assert fake.paths() == ["POST /subjects/s/versions"] * 2


def test_a_registry_serves_one_event_loop_after_another(fake: FakeRegistry) -> None:
    registry = quick(fake.url)
    for backend, schema in (("asyncio", STRING), ("trio", LONG), ("asyncio", Schema('{"type":"int"}'))):
        anyio.run(registry.register, "s", schema, backend=backend)
    assert len(fake.asked) == 3


# -- what may pass is asked again ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_a_passing_status_is_asked_again(fake: FakeRegistry, status: int) -> None:
    fake.faults += [refusal(status, 50001, "not now"), Fault(status, b"<html>")]
    assert (await quick(fake.url).register("s", STRING)).id == 1
    assert len(fake.asked) == 3


async def test_after_the_retries_the_last_reason_is_told(fake: FakeRegistry) -> None:
    fake.faults += [refusal(500, 50001, "Error in the backend datastore")] * 3
    error = await failure(quick(fake.url, retries=2).register("orders-value", STRING))
    assert str(error) == (
        f"schema registry {fake.url} cannot register a schema under subject 'orders-value': "
        "HTTP status 500, error code 50001: Error in the backend datastore (asked 3 times)"
    )
    assert (error.url, error.subject, error.status) == (fake.url, "orders-value", 500)
    assert (error.registry_code, error.registry_message) == (50001, "Error in the backend datastore")
    assert error.is_retriable
    assert isinstance(error, KafkaError)
    assert len(fake.asked) == 3


def nobody_there() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


async def test_a_refused_connection_is_told_with_its_cause() -> None:
    url = nobody_there()
    error = await failure(quick(url, retries=1).latest("s"))
    assert f"schema registry {url} cannot tell the latest version of subject 's': ConnectError: " in str(
        error
    )
    assert "(asked 2 times)" in str(error)
    assert error.is_retriable
    assert error.status is None
    assert error.__cause__ is not None


async def test_an_answer_cut_short_is_asked_for_again(fake: FakeRegistry) -> None:
    fake.faults.append(Fault(200, b'{"id":', cut=True))
    assert (await quick(fake.url).register("s", STRING)).id == 1


async def test_a_slow_answer_is_given_up_within_request_timeout(fake: FakeRegistry) -> None:
    fake.faults.append(Fault(hold=threading.Event()))
    registry = quick(fake.url, request_timeout=0.2, retries=0)
    error = await failure(registry.register("s", STRING))
    assert "no answer within request_timeout (0.2 s)" in str(error)
    assert error.is_retriable
    assert (await quick(fake.url).register("s", STRING)).id == 1


async def test_timeout_ends_all_attempts_together(fake: FakeRegistry) -> None:
    fake.faults.append(Fault(hold=threading.Event()))
    error = await failure(quick(fake.url, timeout=0.2).register("s", STRING))
    assert "no answer within timeout (0.2 s)" in str(error)
    assert error.is_retriable


async def test_timeout_ends_the_pauses_too_and_tells_the_last_reason(fake: FakeRegistry) -> None:
    fake.faults.append(Fault(503))
    error = await failure(quick(fake.url, timeout=2, retry_backoff=60, retry_backoff_max=60).latest("s"))
    assert "HTTP status 503" in str(error)
    assert len(fake.asked) == 1


async def test_addresses_are_tried_in_their_order(fake: FakeRegistry) -> None:
    gone = nobody_there()
    with FakeRegistry() as second:
        registry = quick([gone, fake.url, second.url])
        assert (await registry.register("s", STRING)).id == 1
        fake.faults.append(refusal(503, 50003, "not the leader"))
        await registry.register("t", STRING)
        assert (len(fake.asked), len(second.asked)) == (2, 1)
        fake.faults.append(refusal(409, 409, "incompatible"))
        error = await failure(registry.register("u", STRING))
        assert error.url == fake.url
        assert len(second.asked) == 1
    assert registry.urls == (gone, fake.url, second.url)
    assert quick(f"{gone}, {fake.url}").urls == (gone, fake.url)


# -- what will not pass is told at once ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "text", "code"),
    [
        (
            refusal(401, 401, "Unauthorized"),
            "HTTP status 401, error code 401: Unauthorized; check auth or token",
            401,
        ),
        (Fault(401, b""), "HTTP status 401; check auth or token", None),
        (refusal(403, 40301, "denied"), "error code 40301: denied; the user lacks a permission", 40301),
        (refusal(409, 409, "incompatible"), "error code 409: incompatible; change the schema, or", 409),
        (refusal(422, 42201, "Invalid schema"), "HTTP status 422, error code 42201: Invalid schema", 42201),
        (Fault(404, b"<html>nginx</html>"), "HTTP status 404: '<html>nginx</html>'", None),
        (
            Fault(302, headers=(("Location", "https://login.example/"),)),
            "HTTP status 302, it refers to https://login.example/",
            None,
        ),
        (
            Fault(200, b"<html>hello</html>"),
            "its answer is not JSON: '<html>hello</html>'; is this the",
            None,
        ),
        (Fault(200, b"\xff\xfe"), "its answer is not JSON", None),
        (Fault(200, b"[]"), "its answer has not 'id', a number from 0 to 2147483647: []", None),
        (Fault(200, b'{"id":"1"}'), "its answer has not 'id'", None),
        (Fault(200, b'{"id":2147483648}'), "its answer has not 'id'", None),
        (Fault(200, b'{"id":true}'), "its answer has not 'id'", None),
        (Fault(200, b" " * (16 * 1024 * 1024 + 1)), "its answer is longer than 16777216 bytes", None),
    ],
)
async def test_what_will_not_pass_is_told_at_once(
    fake: FakeRegistry, fault: Fault, text: str, code: int | None
) -> None:
    fake.faults.append(fault)
    error = await failure(quick(fake.url).register("s", STRING))
    assert text in str(error)
    assert fake.url in str(error)
    assert "'s'" in str(error)
    assert (error.registry_code, error.is_retriable) == (code, False)
    assert len(fake.asked) == 1


async def test_an_answer_without_end_is_not_kept_in_memory(fake: FakeRegistry) -> None:
    fake.faults.append(Fault(200, bytes(4 * MAX_ANSWER)))
    tracemalloc.start()
    try:
        error = await failure(quick(fake.url).register("s", STRING))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert f"longer than {MAX_ANSWER} bytes" in str(error)
    assert most < 2 * MAX_ANSWER


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda r: r.latest("none"), "latest version of subject 'none': HTTP status 404, error code 40401: "),
        (lambda r: r.version("s", 9), "version 9 of subject 's': HTTP status 404, error code 40402: "),
        (
            lambda r: r.lookup("s", LONG),
            "find the schema under subject 's': HTTP status 404, error code 40403: ",
        ),
        (lambda r: r.schema(99), "tell the schema of id 99: HTTP status 404, error code 40403: "),
    ],
)
async def test_what_the_registry_does_not_know(
    fake: FakeRegistry, call: Callable[[SchemaRegistry], Awaitable[object]], text: str
) -> None:
    registry = quick(fake.url)
    await registry.register("s", STRING)
    assert text in str(await failure(call(registry)))


@pytest.mark.parametrize(
    "answer",
    [
        {"id": 1, "version": 1},
        {"id": 1, "version": 1, "schema": 5},
        {"id": 1, "version": 1, "schema": "{}", "schemaType": "XML"},
        {"id": 1, "version": 1, "schema": "{}", "references": [{"name": "n"}]},
        {"id": 1, "version": 1, "schema": "{}", "references": 5},
        {"id": 1, "version": None, "schema": "{}"},
    ],
)
async def test_an_answer_without_what_was_asked_for_is_refused(fake: FakeRegistry, answer: Any) -> None:
    fake.faults.append(Fault(200, json.dumps(answer).encode()))
    error = await failure(quick(fake.url).latest("s"))
    assert "its answer has not" in str(error)
    assert not error.is_retriable


# -- how it gets in --------------------------------------------------------------------------------------------------


async def test_a_user_and_a_password_are_sent_and_never_shown(
    fake: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    basic = "Basic dXNlcjpzZWNyZXQ="
    await quick(fake.url, auth=("user", "secret")).register("s", STRING)
    within = fake.url.replace("http://", "http://user:secret@")
    registry = quick(within)
    await registry.register("s", STRING)
    assert [each.headers["authorization"] for each in fake.asked] == [basic] * 2
    fake.faults.append(refusal(401, 401, "Unauthorized"))
    error = await failure(registry.latest("s"))
    assert "subjects/s/versions" in caplog.text
    assert "secret" not in f"{error} {error.url} {registry!r} {registry.urls} {caplog.text}"


async def test_a_token_is_asked_for_at_each_attempt(fake: FakeRegistry) -> None:
    numbers = iter(range(9))

    async def fresh() -> str:
        await anyio.lowlevel.checkpoint()
        return f"token-{next(numbers)}"

    fake.faults.append(Fault(503))
    await quick(fake.url, token=fresh).register("s", STRING)
    await quick(fake.url, token=lambda: "plain").register("s", STRING)
    await quick(fake.url, token="fixed", headers={"target-sr-cluster": "lsrc-1"}).register("s", STRING)
    assert [each.headers["authorization"] for each in fake.asked] == [
        "Bearer token-0",
        "Bearer token-1",
        "Bearer plain",
        "Bearer fixed",
    ]
    assert fake.asked[-1].headers["target-sr-cluster"] == "lsrc-1"


async def test_a_token_that_cannot_be_had_is_the_callers_own_error(fake: FakeRegistry) -> None:
    def none_today() -> str:
        raise RuntimeError("the vault is sealed")

    with pytest.raises(RuntimeError, match="the vault is sealed"):
        await quick(fake.url, token=none_today).register("s", STRING)
    assert fake.asked == []


async def test_tls_takes_a_context_and_refuses_strangers() -> None:
    import ssl

    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with FakeRegistry(server) as fake:
        assert fake.url.startswith("https://")
        assert (await quick(fake.url, tls=trusting).register("s", STRING)).id == 1
        error = await failure(quick(fake.url, retries=0).register("s", STRING))
        assert "ertificate" in str(error)


@pytest.mark.parametrize(
    ("url", "options", "option", "text"),
    [
        ([], {}, "url", "at least one address"),
        ("localhost:8081", {}, "url", "must be like 'https://registry.example:8081'"),
        ("ftp://host", {}, "url", "must be like"),
        ("http://", {}, "url", "must be like"),
        ("http://user:secret@host/?a=b", {}, "url", "got 'http://host/?a=b'"),
        ("http://host:port", {}, "url", "url is not an address"),
        ("http://host", {"auth": ("u", "p"), "token": "t"}, "token", "exclude each other"),
        ("http://u:secret@host", {"auth": ("u", "p")}, "url", "url has a user in it and auth or token"),
        ("http://u:secret@host", {"token": "t"}, "url", "url has a user in it and auth or token"),
        ("http://host", {"auth": "u:p"}, "auth", "a tuple of user and password"),
        ("http://host", {"token": 5}, "token", "must be str or a function"),
        ("http://host", {"tls": True}, "tls", "must be an ssl.SSLContext, got bool"),
        ("http://host", {"retries": -1}, "retries", "must be an int of at least 0, got -1"),
        ("http://host", {"retries": True}, "retries", "got True"),
        ("http://host", {"timeout": 0}, "timeout", "must be above 0 seconds and finite, got 0"),
        ("http://host", {"request_timeout": float("inf")}, "request_timeout", "finite, got inf"),
        (
            "http://host",
            {"retry_backoff": -1},
            "retry_backoff",
            "retry_backoff must be 0 seconds to retry_backoff_max, which is 2.0",
        ),
        ("http://host", {"retry_backoff": 5}, "retry_backoff", "which is 2.0, got 5"),
        (
            "http://host",
            {"retry_backoff_max": -1},
            "retry_backoff_max",
            "retry_backoff_max must be at least 0",
        ),
    ],
)
def test_options_are_checked_at_once(
    url: Any, options: dict[str, Any], option: str | None, text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        SchemaRegistry(url, **options)
    assert text in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.option == option
