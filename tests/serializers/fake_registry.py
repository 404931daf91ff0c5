"""A schema registry on loopback that answers as Confluent's does, counts what it is asked, and fails as told."""

from __future__ import annotations

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"


class Asked(NamedTuple):
    """One request, as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


class Fault(NamedTuple):
    """An answer in place of the right one; `hold` is waited for first."""

    status: int = 200
    body: bytes = b""
    hold: threading.Event | None = None
    headers: tuple[tuple[str, str], ...] = ()
    cut: bool = False


class RefusedError(Exception):
    """An error of the registry's own: HTTP's status, the registry's code, its words."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def refusal(status: int, code: int, message: str) -> Fault:
    return Fault(status, json.dumps({"error_code": code, "message": message}).encode())


class FakeRegistry:
    """The registry; `asked` are the requests so far, `faults` what the next ones get, first come, first served."""

    def __init__(
        self, tls: ssl.SSLContext | None = None, *, compatible: Callable[[str, str], bool] | None = None
    ) -> None:
        self.asked: list[Asked] = []
        self.faults: deque[Fault] = deque()
        self._compatible = compatible
        self._schemas: dict[int, dict[str, Any]] = {}
        self._subjects: dict[str, list[int]] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._scheme = "http"
        if tls is not None:
            self._scheme = "https"
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"{self._scheme}://localhost:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for fault in self.faults:
            if fault.hold is not None:
                fault.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def paths(self) -> list[str]:
        """What was asked, in order, as method and path."""
        return [f"{each.method} {each.path}" for each in self.asked]

    def answer(self, asked: Asked) -> Fault:
        with self._lock:
            self.asked.append(asked)
            if self.faults:
                return self.faults.popleft()
            try:
                return Fault(200, json.dumps(self._right_answer(asked)).encode())
            except RefusedError as error:
                return refusal(error.status, error.code, str(error))

    def _right_answer(self, asked: Asked) -> Any:
        match asked.method, asked.path.strip("/").split("/"):
            case "POST", ["subjects", subject, "versions"]:
                return self._register(unquote(subject), asked.body)
            case "POST", ["subjects", subject]:
                return self._find(unquote(subject), asked.body)
            case "GET", ["subjects", subject, "versions", version]:
                return self._version(unquote(subject), version)
            case "GET", ["schemas", "ids", schema_id]:
                if int(schema_id) not in self._schemas:
                    raise RefusedError(404, 40403, f"Schema {schema_id} not found")
                return self._schemas[int(schema_id)]
        raise RefusedError(404, 404, "HTTP 404 Not Found")

    def _register(self, subject: str, body: dict[str, Any]) -> Any:
        schema = _checked(body)
        known = next((number for number, each in self._schemas.items() if each == schema), None)
        versions = self._subjects.setdefault(subject, [])
        if known not in versions:
            if versions and self._compatible is not None:
                latest = self._schemas[versions[-1]]["schema"]
                if not self._compatible(latest, schema["schema"]):
                    raise RefusedError(
                        409,
                        409,
                        f'Schema being registered is incompatible with an earlier one for "{subject}"',
                    )
            known = len(self._schemas) + 1 if known is None else known
            self._schemas[known] = schema
            versions.append(known)
        return {"id": known}

    def _find(self, subject: str, body: dict[str, Any]) -> Any:
        schema = _checked(body)
        if subject not in self._subjects:
            raise RefusedError(404, 40401, f"Subject '{subject}' not found.")
        for version, number in enumerate(self._subjects[subject], 1):
            if self._schemas[number] == schema:
                return {"subject": subject, "version": version, "id": number, **schema}
        raise RefusedError(404, 40403, "Schema not found")

    def _version(self, subject: str, version: str) -> Any:
        if subject not in self._subjects:
            raise RefusedError(404, 40401, f"Subject '{subject}' not found.")
        versions = self._subjects[subject]
        number = len(versions) if version == "latest" else int(version)
        if not 1 <= number <= len(versions):
            raise RefusedError(404, 40402, f"Version {number} not found.")
        schema_id = versions[number - 1]
        return {"subject": subject, "version": number, "id": schema_id, **self._schemas[schema_id]}


def _checked(body: dict[str, Any]) -> dict[str, Any]:
    """The part of a request that is the schema, as an answer has it."""
    kind = body.get("schemaType", "AVRO")
    if kind in {"AVRO", "JSON"}:
        try:
            json.loads(body["schema"])
        except ValueError as error:
            raise RefusedError(422, 42201, f"Invalid schema: {error}") from error
    schema = {"schema": body["schema"]}
    if kind != "AVRO":
        schema["schemaType"] = kind
    if body.get("references"):
        schema["references"] = body["references"]
    return schema


def _handler(registry: FakeRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (ConnectionError, OSError):
                self.close_connection = True  # the client went away, as in a test of deadlines

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
            """Keep quiet: `asked` has it."""

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            found = registry.answer(Asked(self.command, parts.path, parse_qs(parts.query), headers, body))
            if found.hold is not None:
                found.hold.wait(60)
            self.send_response(found.status)
            self.send_header("Content-Type", MEDIA_TYPE)
            self.send_header("Content-Length", str(len(found.body) + found.cut))
            for name, value in found.headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(found.body)
            if found.cut:
                self.close_connection = True

        do_GET = do_POST = _serve  # noqa: N815 - the names it has there

    return Handler
