"""A server on this machine that a test can bend: what it serves, how fast, how honestly."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(slots=True)
class Served:
    """What a server does; a test changes it as it goes."""

    files: Callable[[str], bytes | None]  # by path without the first slash; None: 404
    ranges: bool = True
    status: int = 0  # not 0: every answer has it
    break_after: int = -1  # bytes of a body after which the connection ends
    drip: float = 0  # seconds between bytes of a body
    drip_head: float = 0  # seconds between bytes of the head
    endless: bool = False
    content_length: bool = True
    redirect: Mapping[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    ports: set[int] = field(default_factory=set)  # of those who asked: one for each connection
    url: str = ""

    def paths(self) -> list[str]:
        """What was asked for, without ranges."""
        return [line.partition(" ")[0] for line in self.asked]


def of(files: Mapping[str, bytes]) -> Served:
    """A server of these files."""
    return Served(files.get)


@contextmanager
def serving(served: Served) -> Iterator[Served]:
    """Serve while inside; ``url`` is set."""
    stop = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = re.sub(r"^https?://[^/]+", "", self.path).lstrip("/")
            asked = self.headers.get("Range", "")
            served.ports.add(self.client_address[1])
            served.asked.append(f"{path} {asked}".strip())
            if path in served.redirect:
                self.answer(302, b"", {"Location": served.redirect[path]})
                return
            body = served.files(path)
            if served.status or body is None:
                self.answer(served.status or 404, b"no")
                return
            found = re.fullmatch("bytes=([0-9]+)-([0-9]+)", asked)
            if found and served.ranges:
                first, last = int(found[1]), min(int(found[2]), len(body) - 1)
                head = {"Content-Range": f"bytes {first}-{last}/{len(body)}"}
                self.answer(206, body[first : last + 1], head)
            else:
                self.answer(200, body)

        def answer(self, status: int, body: bytes, head: Mapping[str, str] | None = None) -> None:
            lines = {**(head or {})}
            if served.content_length and not served.endless:
                lines["Content-Length"] = str(len(body))
            else:
                lines["Connection"] = "close"
                self.close_connection = True
            text = f"HTTP/1.1 {status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n"
            try:
                self.dripped(text.encode(), served.drip_head)
                if served.break_after >= 0:
                    self.wfile.write(body[: served.break_after])
                    self.close_connection = True
                    return
                self.dripped(body, served.drip)
                while served.endless and not stop.is_set():
                    self.wfile.write(bytes(65_536))
            except OSError:
                self.close_connection = True

        def dripped(self, data: bytes, seconds: float) -> None:
            if not seconds:
                self.wfile.write(data)
                return
            for byte in data:
                if stop.is_set():
                    return
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(seconds)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        served.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            stop.set()
            server.shutdown()
            thread.join()
