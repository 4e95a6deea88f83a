"""What of the server can be reached: the routes that the page needs, by the names that it has; and no address elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
#: What the page asks for. All else that the library serves is shut: its API, its proxy, its recordings, its editor.
ROUTES = re.compile(
    r"/|/(config|info|theme\.css|favicon\.ico|manifest\.json|robots\.txt)/?|/(assets|static|svelte)/.*"
    r"|/gradio_api/(startup-events|info|theme\.css|upload|upload_progress|heartbeat/[^/]+|queue/(join|data)|run/[^/]+|cancel|reset)/?"
    r"|/gradio_api/file=(?!https?:).*"
)
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
MOST = 2**20  # bytes of a request that is no upload


class Guard:
    """An ASGI application around another.

    A page of another site that this machine's browser has open must not talk to the server: a loopback server answers to
    loopback names alone, whatever name servers say (DNS rebinding). Inputs that name an address are refused, since the library
    would fetch it.

    Args:
        app: what is guarded.
        hosts: names that it answers to; None for all.
    """

    def __init__(self, app: Any, hosts: frozenset[str] | None = None) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refused = self._refused(scope)
        if refused is None and scope["method"] == "POST" and not scope["path"].startswith("/gradio_api/upload"):
            body = await _body(receive)
            refused = 413 if body is None else 400 if _names_addresses(body) else None
            receive = _again(body or b"")
        if refused is not None:
            await send(
                {"type": "http.response.start", "status": refused, "headers": [(b"content-type", b"text/plain"), *HEADERS]}
            )
            await send({"type": "http.response.body", "body": b"refused"})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        await self.app(scope, receive, with_headers)

    def _refused(self, scope: Message) -> int | None:
        if not ROUTES.fullmatch(scope["path"]):
            return 404
        headers = dict(scope["headers"])
        if self.hosts is not None and _host(b"//" + headers.get(b"host", b"")) not in self.hosts:
            return 403
        origin = headers.get(b"origin")
        if origin is not None and _host(origin) != _host(b"//" + headers.get(b"host", b"")):
            return 403
        return None


def _host(address: bytes) -> str | None:
    try:
        return urlsplit(address.decode("latin-1")).hostname
    except ValueError:
        return None


async def _body(receive: Receive) -> bytes | None:
    """Returns the body of a request; None of one that is too long."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MOST:
            return None
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return body


def _again(body: bytes) -> Receive:
    """Returns what receives a body that was read already, and then waits for the end like any other."""
    said = False

    async def receive() -> Message:
        nonlocal said
        if said:
            return {"type": "http.disconnect"}
        said = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _names_addresses(body: bytes) -> bool:
    """Whether a file in a request is an address of the network."""
    try:
        content = json.loads(body or b"null")
    except ValueError:
        return False  # the library refuses it
    waiting = [content]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            path = one.get("path")
            if isinstance(path, str) and re.match(r"\s*[a-z][a-z0-9+.-]*://", path, re.IGNORECASE):
                return True
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return False
