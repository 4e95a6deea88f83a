"""The server of the page: on this machine alone, without a word to any other, and nothing left behind."""

from __future__ import annotations

import ipaddress
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..data.backgrounds import BACKGROUNDS
from ..data.looks import BENCHMARK_SEED
from ..data.scenes import compose, noun_phrase
from ..functional.optional import extra
from ..results.writing import write_picture
from .guard import Guard
from .jobs import Jobs
from .sessions import Sessions
from .views import Example
from .wishes import Limits, Offer

EXAMPLE = Path(__file__).resolve().parent.parent / "assets" / "examples" / "apple_and_bear.png"
SCENES: tuple[tuple[Any, int], ...] = (("triple", 0), ("pair", 3))  # of the embedded world, shown as further examples


@dataclass
class Server:
    """A page that is being served.

    Attributes:
        url: where it is found.
    """

    url: str
    page: Any
    sessions: Sessions
    folder: Path

    def close(self) -> None:
        """Ends what runs, and deletes uploads and results."""
        self.sessions.close()
        if self.page.is_running:
            self.page.close(verbose=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def serve(
    offer: Offer, host: str = "127.0.0.1", port: int = 7860, limits: Limits | None = None, words: list[str] | None = None
) -> Server:
    """Serves the page, in threads of its own.

    Args:
        offer: what there is to choose from.
        host: name or address to listen at.
        port: of it; 0 for any that is free.
        limits: of what may be asked for; None for :class:`Limits` as it is.
        words: what the teachers know; None where they know everything.

    Raises:
        ModuleNotFoundError: without the extra ``web``.
        ValueError: for a host that is none, or a port that is taken.
    """
    from .actions import Actions  # before anything is written: the extra may be missing
    from .page import Page

    limits = limits or Limits()
    folder = Path(tempfile.mkdtemp(prefix="peekaboo-web-"))
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": str(folder), "HF_HUB_DISABLE_TELEMETRY": "1"}
    shown = folder / "examples"
    sessions = Sessions(folder, kept=shown)
    try:
        page = Page(Actions(Jobs(offer), limits, sessions, examples(shown)), words).blocks()
        _launch(page, host, port or _free_port(host), limits)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise ValueError(f"host, port: expected an address that is free, got {host!r} and {port} ({error})") from None
        raise
    return Server(page.local_url, page, sessions, folder)


def _launch(page: Any, host: str, port: int, limits: Limits) -> None:
    """Starts the server with nothing but the page."""
    with extra("web", "peekaboo web"):
        import gradio as gr
        from starlette.middleware import Middleware
    from .page import STYLE

    hosts = frozenset({"localhost", "127.0.0.1", "::1", host.strip("[]")}) if is_loopback(host) else None
    page.launch(
        server_name=host,
        server_port=port,
        app_kwargs={"middleware": [Middleware(Guard, hosts)], "docs_url": None, "redoc_url": None, "openapi_url": None},
        theme=gr.themes.Default(primary_hue="teal", font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        css=STYLE,
        max_file_size=limits.max_upload,
        allowed_paths=[],
        footer_links=[],
        share=False,
        inbrowser=False,
        quiet=True,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        run_history=False,
        prevent_thread_lock=True,
        state_session_capacity=50,
    )


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches a host.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def examples(folder: Path) -> list[Example]:
    """Returns pictures that the embedded teacher knows, with what they show; some are composed for it.

    Args:
        folder: that they are written into.
    """
    folder.mkdir()
    found = [(Path(shutil.copy(EXAMPLE, folder)), "a red apple\na teddy bear")]
    for kind, index in SCENES:
        scene = compose(BENCHMARK_SEED, index, kind, size=256, backgrounds=BACKGROUNDS)
        file = folder / f"{kind}_{index}.png"
        write_picture(file, Image.fromarray(scene.image))
        found.append((file, "\n".join(map(noun_phrase, scene.names))))
    return found


def _free_port(host: str) -> int:
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as one:
        one.bind((host.strip("[]"), 0))
        return int(one.getsockname()[1])
