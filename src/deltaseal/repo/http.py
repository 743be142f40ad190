"""Fetching over HTTP: bounded in bytes and in patience, by ranges, through the proxies of the surroundings.

One of the doors through which bytes from outside come in.  A server is believed nothing: sizes are bounded by
whoever asks, and one that sends under ``FLOOR`` bytes a second over ``WINDOW`` seconds is left (T05).
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from deltaseal._version import __version__
from deltaseal.errors import LimitError, NetworkError, StorageError
from deltaseal.storage import MissingError, ShortReadError

__all__ = ["FLOOR", "WINDOW", "HttpTransport", "RemoteFile"]

FLOOR: Final = 1024  # bytes a second
WINDOW: Final = 60.0  # seconds over which they are counted
FIRST_RANGE: Final = 16_400  # bytes; holds the head of an ordinary bundle, so that opening one is one request
PIECE: Final = 65_536
_SMALL: Final = 8_192  # bytes of words about a file that is not there
MAX_REMOTE: Final = 1 << 53  # bytes that a server may say a file has
_MISSING: Final = (403, 404, 410)  # an object store says 403 where it does not list
_CONTENT_RANGE: Final = re.compile(r"bytes ([0-9]{1,16})-([0-9]{1,16})/([0-9]{1,16})")
_QUOTED: Final = "/:=,-_.~%"


class _Watched(HTTPConnection):
    """A connection whose socket can be reached while it waits for an answer."""

    def connect(self) -> None:
        super().connect()
        _Patience.of_thread.hold(self.sock)


class _WatchedTls(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _Patience.of_thread.hold(self.sock)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTls


class _Local(threading.local):
    def __init__(self) -> None:
        self.sockets: list[Any] = []

    def hold(self, socket: Any) -> None:
        """Keep the newest few: connections are used again, and those that ended are nothing to end."""
        del self.sockets[:-3]
        self.sockets.append(socket)


class _Patience:
    """Ends a wait that the socket's own timeout would let go on for ever: a byte now and then.

    Every ``window`` seconds it looks whether ``floor`` bytes a second came; if not, it ends the connection.
    """

    of_thread: Final = _Local()

    def __init__(self, floor: int, window: float) -> None:
        self.over = False
        self.received = 0
        self._floor = floor
        self._window = window
        self._counted = 0
        self._sockets = self.of_thread.sockets
        self._timer = self._timed()

    def _timed(self) -> threading.Timer:
        timer = threading.Timer(self._window, self._look)
        timer.daemon = True
        timer.start()
        return timer

    def _look(self) -> None:
        fresh = self.received - self._counted
        if fresh >= self._floor * self._window:
            self._counted = self.received
            self._timer = self._timed()
            return
        self.over = True
        for socket in list(self._sockets):
            with contextlib.suppress(OSError):
                socket.shutdown(2)

    def end(self) -> None:
        """Look no more."""
        self._timer.cancel()


@dataclass(slots=True)
class Counted:
    """What was asked of a server so far."""

    requests: int = 0
    bytes: int = 0  # of bodies and heads received; of a head as we write it down again


@dataclass(frozen=True, slots=True)
class HttpTransport:
    """A repository at a URL. ``proxy_for`` gives the proxy's URL for a URL, or nothing."""

    url: str
    proxy_for: Callable[[str], str | None] = lambda url: None
    floor: int = FLOOR
    window: float = WINDOW
    counted: Counted = field(default_factory=Counted)
    _pools: dict[str | None, urllib3.PoolManager] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What to call it in sentences: without a password that the URL may hold."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()

    def read(self, name: str, limit: int) -> bytes:
        """A whole file of at most ``limit`` bytes.

        Raises ``MissingError`` if the server says that it is not there, ``LimitError`` for one that is
        larger, ``NetworkError`` for all else.
        """
        return b"".join(self.stream(name, limit))

    def stream(self, name: str, limit: int) -> Iterator[bytes]:
        """As :meth:`read`, in pieces; the request is made at once."""
        return self._ask(name).body(limit)

    def open(self, name: str) -> RemoteFile:
        """A file to be read by ranges. Raises as :meth:`read`."""
        return RemoteFile(self, name)

    def range(self, name: str, start: int, end: int) -> tuple[bytes, int]:
        """Bytes ``start`` to ``end`` (exclusive), fewer at the end of the file, and the file's size.

        Where a server sends the whole file instead, what lies before is read and dropped.
        """
        answer = self._ask(name, {"Range": f"bytes={start}-{end - 1}"})
        if answer.status == 206:
            found = _CONTENT_RANGE.fullmatch(answer.header("Content-Range"))
            if not found or int(found[1]) != start or int(found[3]) > MAX_REMOTE:
                answer.close()
                raise NetworkError(f"{self.name} answered {name} with another range than was asked for")
            return b"".join(answer.body(end - start)), int(found[3])
        size = answer.header("Content-Length")
        if not re.fullmatch("[0-9]{1,15}", size):
            answer.close()
            raise NetworkError(f"{self.name} does not say how large {name} is")
        return b"".join(_part(answer.body(MAX_REMOTE), start, end)), int(size)

    def _ask(self, name: str, headers: dict[str, str] | None = None) -> _Answer:
        url = f"{self.url.rstrip('/')}/{quote(name, safe=_QUOTED)}"
        sent = {"User-Agent": f"deltaseal/{__version__}", "Accept-Encoding": "identity", **(headers or {})}
        patience = _Patience(self.floor, self.window)
        try:
            response = self._pool(url).request(
                "GET",
                url,
                headers=sent,
                preload_content=False,
                decode_content=False,
                redirect=True,
                retries=urllib3.Retry(connect=1, read=1, redirect=3, status=0, other=0),
                timeout=urllib3.Timeout(connect=min(15.0, self.window), read=min(30.0, self.window)),
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            patience.end()
            raise self.failure(name, error, slow=patience.over) from error
        self.counted.requests += 1
        self.counted.bytes += sum(len(key) + len(value) + 4 for key, value in response.headers.items()) + 17
        answer = _Answer(self, name, response, patience)
        if response.status in _MISSING:
            with contextlib.suppress(LimitError, NetworkError):
                list(answer.body(_SMALL))  # so that the connection can be used again
            raise MissingError(f"{self.name} has no {name} ({response.status})", path=name)
        if response.status not in (200, 206):
            answer.close()
            raise NetworkError(
                f"{self.name} answered {name} with status {response.status}", status=response.status
            )
        return answer

    def _pool(self, url: str) -> urllib3.PoolManager:
        proxy = self.proxy_for(url)
        if proxy not in self._pools:
            made = urllib3.ProxyManager(proxy) if proxy else urllib3.PoolManager()
            made.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
            self._pools[proxy] = made
        return self._pools[proxy]

    def failure(self, name: str, error: BaseException | None, *, slow: bool) -> NetworkError:
        """What went wrong with a request, in words."""
        if slow:
            return NetworkError(
                f"{self.name} sent {name} slower than {self.floor} bytes a second over {self.window:g} s",
                floor=self.floor,
                window=self.window,
            )
        reason = getattr(error, "reason", None) or error
        return NetworkError(f"{self.name} could not be asked for {name}: {_first_words(reason)}")


def _part(body: Iterator[bytes], start: int, end: int) -> Iterator[bytes]:
    """What of a whole body lies in a range; the rest is not waited for."""
    at = 0
    for piece in body:
        yield piece[max(0, start - at) : max(0, end - at)]
        at += len(piece)
        if at >= end:
            return


@dataclass(slots=True)
class _Answer:
    """A server's answer whose body is not read yet."""

    transport: HttpTransport
    name: str
    response: urllib3.BaseHTTPResponse
    patience: _Patience

    @property
    def status(self) -> int:
        return self.response.status

    def header(self, name: str) -> str:
        return self.response.headers.get(name, "")

    def close(self) -> None:
        self.patience.end()
        self.response.close()

    def body(self, limit: int) -> Iterator[bytes]:
        """The body in pieces: at most ``limit`` bytes, not slower than the floor, no less than promised."""
        total, promised = 0, self.header("Content-Length")
        try:
            while piece := self._piece(limit - total + 1):
                total += len(piece)
                if total > limit:
                    raise LimitError(
                        f"{self.transport.name} sent more than {limit} bytes for {self.name}",
                        limit=limit,
                        path=self.name,
                    )
                yield piece
            if promised.isascii() and promised.isdigit() and total < int(promised):
                raise NetworkError(
                    f"{self.transport.name} broke off {self.name} after {total} of {promised} bytes"
                )
            self.response.release_conn()
        finally:
            self.close()

    def _piece(self, most: int) -> bytes:
        try:
            piece = self.response.read1(min(PIECE, most))
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise self.transport.failure(self.name, error, slow=self.patience.over) from error
        if self.patience.over:
            raise self.transport.failure(self.name, None, slow=True)
        self.patience.received += len(piece)
        self.transport.counted.bytes += len(piece)
        return piece


def _first_words(error: object) -> str:
    words = re.sub(r"<[^>]*>: |\w+\(host=.*?\): ", "", str(error))  # urllib3 names its objects
    return (words.partition("\n")[0] or type(error).__name__)[:200]


class RemoteFile:
    """A file on a server as a byte source, by ranges; its beginning is fetched at once and kept."""

    def __init__(self, transport: HttpTransport, name: str) -> None:
        self._transport = transport
        self._name = name
        self._head, self._size = transport.range(name, 0, FIRST_RANGE)

    def size(self) -> int:
        """The size that the server told with the first range."""
        return self._size

    def read_at(self, offset: int, size: int) -> bytes:
        """Exactly the bytes at ``offset``. Raises ``NetworkError`` where the server has other ideas."""
        if offset < 0 or size < 0:
            raise ValueError(f"negative range: {offset}, {size}")
        if offset + size > self._size:
            raise ShortReadError(
                f"{self._name!r} on {self._transport.name} has {self._size} bytes; "
                f"{offset} to {offset + size} were asked for",
                path=self._name,
            )
        if offset + size <= len(self._head):
            return self._head[offset : offset + size]
        try:
            piece, total = self._transport.range(self._name, offset, offset + size)
        except StorageError as error:  # it was there a moment ago
            raise NetworkError(error.sentence) from error
        if total != self._size or len(piece) != size:
            raise NetworkError(f"{self._name!r} on {self._transport.name} changed while it was read")
        return piece
