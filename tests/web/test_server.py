"""The server: nothing of this machine but the page, no word to another machine, nothing left behind."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from peekaboo.command_line import web
from peekaboo.web.guard import Guard
from peekaboo.web.server import Server, is_loopback, serve
from peekaboo.web.wishes import Limits, Offer

pytest.importorskip("gradio", reason="the page needs the extra `web`")


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Addresses that this process connects to."""
    found: list[Any] = []
    connect = socket.socket.connect

    def noted(self: socket.socket, address: Any) -> None:
        found.append(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", noted)
    return found


@pytest.fixture
def server(offer: Offer, connections: list[Any]) -> Iterator[Server]:
    one = serve(offer, port=0, limits=Limits(max_upload=10_000))
    yield one
    one.close()


def get(server: Server, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str, dict[str, str]]:
    request = urllib.request.Request(server.url.rstrip("/") + path, body, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode(errors="replace"), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace"), dict(error.headers)


def submit(server: Server, name: str, data: list[Any], session: str = "me") -> str:
    """Calls a handler as a page does, and returns all that comes back."""
    (function,) = [number for number, one in server.page.fns.items() if one.name == name]
    body = json.dumps({"data": data, "fn_index": function, "session_hash": session, "event_data": None, "trigger_id": None})
    status, text, _ = get(server, "/gradio_api/queue/join?", body.encode())
    return text if status != 200 else get(server, f"/gradio_api/queue/data?session_hash={session}")[1]


def test_the_page_and_nothing_else_of_this_machine(server: Server, connections: list[Any], tmp_path: Path) -> None:
    status, page, headers = get(server, "/")
    assert status == 200 and "peekaboo" in page
    assert "default-src 'self'" in headers["content-security-policy"]
    assert not re.findall(r"<(?:script|link)[^>]*(?:src|href)=[\"'](?:https?:)?//", page)  # nothing is loaded from elsewhere
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret")
    for path in (secret, ROOT / "pyproject.toml", Path("/etc/hosts"), Path(__file__)):
        for route in (f"/gradio_api/file={path}", f"/file={path}", f"/gradio_api/file/{path}", f"/static/..%2f..%2f{path}"):
            status, text, _ = get(server, route)
            assert status in (403, 404), route
            assert "secret" not in text.replace(str(path), "") and "[project]" not in text
    for route in (
        "/docs",
        "/gradio_api/openapi.json",
        "/gradio_api/proxy=http://127.0.0.1/",
        "/gradio_api/file=http://example.org/x.png",
        "/gradio_api/runs",
        "/monitoring",
        "/gradio_api/api/segment",
        "/gradio_api/call/segment",
        "/gradio_api/vibe-code/",
        "/login",
    ):
        assert get(server, route)[0] == 404, route
    assert {address[0] for address in connections} <= {"127.0.0.1"}


def test_who_talks_to_it_from_another_site_is_refused(server: Server) -> None:
    assert get(server, "/", Host="evil.example")[0] == 403
    assert get(server, "/", Origin="http://evil.example")[0] == 403
    assert get(server, "/", Origin="null")[0] == 403
    assert get(server, "/", Origin=server.url.rstrip("/"))[0] == 200


def test_an_image_of_this_machine_or_of_an_address_is_not_read(server: Server, connections: list[Any], image_file: Path) -> None:
    rest = ["a red apple", "rgb_bilateral", "embedded", 2, 0]
    for path in (str(image_file), "/etc/hosts", str(ROOT / "peekaboo/assets/examples/bear_mask.png"), "http://127.0.0.1:9/x.png"):
        file = {"path": path, "meta": {"_type": "gradio.FileData"}, "url": None, "orig_name": "x.png"}
        answer = submit(server, "segment", [file, *rest], session=path.replace("/", "_"))
        assert "found" not in answer and "iteration" not in answer
        assert "refused" in answer or '"success":false' in answer
    assert not [address for address in connections if address[1] == 9]


def test_a_mistake_is_one_line_on_the_page(server: Server) -> None:
    answer = submit(server, "segment", [None, "", "rgb_bilateral", "embedded", 2, 0])
    assert "image: expected one, got none" in answer and '"success":true' in answer


def test_large_uploads_are_refused(server: Server) -> None:
    about = b'Content-Disposition: form-data; name="files"; filename="x.png"\r\nContent-Type: image/png'
    form = b"--x\r\n" + about + b"\r\n\r\n%s\r\n--x--\r\n"
    kind = "multipart/form-data; boundary=x"
    assert get(server, "/gradio_api/upload", form % bytes(9_000), **{"Content-Type": kind})[0] == 200
    assert get(server, "/gradio_api/upload", form % bytes(11_000), **{"Content-Type": kind})[0] == 413
    assert get(server, "/gradio_api/queue/join?", b'"' + bytes(2**20) + b'"')[0] == 413


def test_all_uploads_are_gone_when_it_ends(server: Server) -> None:
    assert server.folder.is_dir() and oct(server.folder.stat().st_mode & 0o777) == "0o700"
    server.close()
    assert not server.folder.exists()


def test_a_port_that_is_taken_is_one_line(offer: Offer) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        line = rf"^host, port: expected an address that is free, got '127.0.0.1' and {port} \([^\n]*\)$"
        with pytest.raises(ValueError, match=line):
            serve(offer, port=port)


@pytest.mark.parametrize(("host", "local"), [("127.0.0.9", True), ("[::1]", True), ("0.0.0.0", False), ("example.org", False)])
def test_what_is_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) is local


# ---- the guard alone ---------------------------------------------------------------------------------------------------------


def asked(
    path: str, body: bytes = b"", hosts: frozenset[str] | None = None, method: str = "GET", **headers: str
) -> tuple[int, bytes]:
    """What an application behind a guard, which says what it heard, answers."""
    sent: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": (await receive())["body"]})

    parts = [body[:3], body[3:]]

    async def receive() -> Any:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "path": path,
        "method": method,
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(Guard(application, hosts)(scope, receive, send))
    assert any(name == b"content-security-policy" for name, _ in sent[0]["headers"])
    return sent[0]["status"], sent[1]["body"]


def test_a_body_is_handed_on_whole() -> None:
    body = b'{"data": [{"path": "/tmp/x.png", "url": "http://127.0.0.1/x.png"}]}'
    assert asked("/gradio_api/queue/join", body, method="POST") == (200, body)


@pytest.mark.parametrize("path", ["http://a/x", "HTTPS://a/x", " ftp://a/x", "\\u0068ttp://a/x"])
def test_an_address_anywhere_in_a_body_is_refused(path: str) -> None:
    body = b'{"data": [1, {"deep": [{"path": "%s"}]}]}' % path.encode()
    assert asked("/gradio_api/run/predict", body, method="POST") == (400, b"refused")


def test_hosts() -> None:
    names = frozenset({"localhost", "::1"})
    assert asked("/", hosts=names, Host="localhost:7860")[0] == 200
    assert asked("/", hosts=names, Host="[::1]:7860")[0] == 200
    assert asked("/", hosts=names, Host="localhost.evil.example")[0] == 403
    assert asked("/", hosts=names)[0] == 403
    assert asked("/", hosts=None, Host="gpu.lab.example")[0] == 200


# ---- the command ---------------------------------------------------------------------------------------------------------------


def command(*args: str) -> int:
    return web.main([*args, "--port", "0"], wait=lambda: None)


def test_the_command_says_where_the_page_is(capsys: pytest.CaptureFixture[str]) -> None:
    threads = threading.active_count()
    assert command() == 0
    out, err = capsys.readouterr()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/ is the page; Ctrl-C ends it\n", out)
    assert "warning" not in err and ": web, teacher embedded, " in err
    assert threading.active_count() <= threads + 2


def test_a_host_for_all_is_warned_about(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--host", "0.0.0.0") == 0
    assert "warning: host: 0.0.0.0 is more than this machine" in capsys.readouterr().err
