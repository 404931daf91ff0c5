"""Runs a file that defines an ASGI application `app` and posts an order to it: `drive_asgi.py FILE BACKEND PATH`."""

from __future__ import annotations

import runpy
import sys
from typing import Any

import anyio

ORDER = b"two coffees"


class Application:
    """An ASGI application with its lifespan open."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._state: dict[str, Any] = {}
        self._to_app, self._lifespan_receive = anyio.create_memory_object_stream[dict[str, Any]](1)
        self._lifespan_send, self._from_app = anyio.create_memory_object_stream[dict[str, Any]](1)

    async def _lifespan(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self._state}
        await self._app(scope, self._lifespan_receive.receive, self._lifespan_send.send)

    async def run(self, path: str) -> int:
        """Start the application, post an order, shut down; return the answer's status."""
        async with anyio.create_task_group() as task_group:
            task_group.start_soon(self._lifespan)
            with self._to_app, self._lifespan_receive, self._lifespan_send, self._from_app:
                await self._step("startup")
                status = await self._post(path)
                await self._step("shutdown")
        return status

    async def _step(self, name: str) -> None:
        await self._to_app.send({"type": f"lifespan.{name}"})
        answer = await self._from_app.receive()
        assert answer["type"] == f"lifespan.{name}.complete", answer

    async def _post(self, path: str) -> int:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"content-length", str(len(ORDER)).encode())],
            "state": dict(self._state),
        }
        answers: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": ORDER, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            answers.append(message)

        await self._app(scope, receive, send)
        print(b"".join(answer.get("body", b"") for answer in answers).decode())
        status: int = answers[0]["status"]
        return status


def main() -> int:
    """Exit with 0 if the order was accepted."""
    name, backend, path = sys.argv[1:]
    app = runpy.run_path(name)["app"]
    status = anyio.run(Application(app).run, path, backend=backend)
    print("status", status)
    return 0 if status == 201 else 1


if __name__ == "__main__":
    sys.exit(main())
