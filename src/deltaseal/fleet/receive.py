"""Taking reports over by HTTP: each batch that an enrolled device signed becomes a file of the inbox.

Small on purpose: no TLS, no accounts. Put it behind whatever speaks TLS; what
is stored was signed by an enrolled device, and is judged again when it is taken in.
"""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from deltaseal.errors import DeltasealError, LimitError, SignatureError, SpaceError
from deltaseal.fleet.store import open_fleet
from deltaseal.report import BATCH_BYTES, BATCH_REPORTS, split_documents, verify_report
from deltaseal.report.signed import only_signature
from deltaseal.storage import write_output
from deltaseal.trust import PublicKey

__all__ = ["check_batch", "receiver"]

SECONDS: Final = 20  # that one request may take to arrive
AT_ONCE: Final = 32  # requests; more wait for a place

_STATUS: Final = {"E_LIMIT": 413, "E_SIG": 403, "E_DEVICE": 403, "E_SPACE": 507, "E_IO": 507}


def check_batch(body: bytes, fleet: Path) -> None:
    """Refuse a batch that is none, or that holds anything not signed by one enrolled device of ``fleet``."""
    with open_fleet(fleet) as known:
        for number, document in enumerate(split_documents(body)):
            if number == BATCH_REPORTS:
                raise LimitError(f"a batch has at most {BATCH_REPORTS} reports", limit=BATCH_REPORTS)
            hint = only_signature(document, "deltaseal/report").key_hint
            row = known.one("SELECT device, key FROM devices WHERE hint = ?", (hint,))
            if row is None:
                raise SignatureError("signed by no enrolled device", hint_of_key=hint.hex())
            verify_report(document, PublicKey("ed25519", row[1]), row[0])


def receiver(host: str, port: int, *, fleet: Path, inbox: Path) -> ThreadingHTTPServer:
    """A server that is bound already; ``serve_forever`` runs it. ``OSError`` for an address that is taken."""
    places = threading.BoundedSemaphore(AT_ONCE)

    class Handler(BaseHTTPRequestHandler):
        timeout = SECONDS
        server_version = "deltaseal"
        sys_version = ""

        def do_POST(self) -> None:
            with places:
                self._answer(*self._taken())

        def _taken(self) -> tuple[int, str]:
            length = self.headers.get("Content-Length", "")
            if not (length.isascii() and length.isdigit()):
                return 411, "the length of the batch is needed"
            if int(length) > BATCH_BYTES:
                return 413, f"a batch has at most {BATCH_BYTES} bytes"
            body = self.rfile.read(int(length))
            if not body or len(body) < int(length):
                return 400, "the batch is not whole"
            try:
                check_batch(body, fleet)
                name = f"{hashlib.sha256(body).hexdigest()[:32]}.reports"
                write_output(inbox / name, [body], force=True)
            except SpaceError as error:
                return 507, error.sentence
            except DeltasealError as error:
                return _STATUS.get(error.reason, 400), f"{error.reason}: {error.sentence}"
            return 204, ""

        def _answer(self, status: int, words: str) -> None:
            text = words.encode("utf-8", "replace")
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(text)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(text)
            self.close_connection = True

        def log_message(self, format: str, *values: Any) -> None:
            """Nothing: devices are many, and what was taken over is in the inbox."""

    return ThreadingHTTPServer((host, port), Handler)
