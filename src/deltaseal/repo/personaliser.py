"""The personaliser as a service: a device's request comes in, a device manifest for it alone goes out.

An ASGI application (starlette, the extra ``service``): ``POST /<improvement id>`` with a request
(docs/spec/manifests.md, section 7) as the body.  Who may ask at all is for whoever stands in front of it.
What it signs is bounded by what the release role signed and narrowed by what is published (R6, R7).  It holds
online keys, so it does nothing else, and bounds the size, the time and the rate of what it is asked.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from deltaseal.errors import DeltasealError, LimitError, NetworkError, UsageError
from deltaseal.manifest import DeviceManifest, Request, make_permit
from deltaseal.manifest.device_manifest import MAX_REQUEST_BYTES
from deltaseal.repo import parts
from deltaseal.repo.publisher import Publisher
from deltaseal.trust import Signer, sign

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request as HttpRequest
    from starlette.responses import Response

__all__ = ["Bounds", "issue", "service"]

_CLIENTS: Final = 10_000  # that are remembered; the one heard of longest ago is forgotten first
_STATUS: Final = {"E_LIMIT": 413, "E_NET": 408, "E_IO": 503, "E_SPACE": 503, "E_TYPE": 400, "E_USAGE": 404}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one request, and one client, may take."""

    body: int = MAX_REQUEST_BYTES
    seconds: float = 10.0  # for a body to come in
    per_minute: int = 30  # requests of one client
    lives: int = 86_400  # seconds that what is issued lives, at most 7 days


def issue(publisher: Publisher, id: str, request: Request, signers: Sequence[Signer], *, lives: int) -> bytes:
    """A device manifest of an improvement for the device that asks, signed.

    It has the channel, phase and pause of the one that is published for the device's model. Raises
    ``UsageError`` for what is not offered to such a device.
    """
    public = publisher.offered(id, os=request.os, build=request.build, model=request.model)
    if public is None:
        raise UsageError(
            f"{id} is not offered to {request.model} on {request.os} build {request.build}",
            hint="ask for an improvement that is published for this base and model",
            id=id,
        )
    permit = make_permit(
        publisher.manifest(public.bundle),
        public.bundle,
        issued=publisher.now,
        expires=publisher.now + lives,
        personal=request.personal,
        channel=public.channel,
        phase=public.phase,
        paused=public.paused,
    )
    chosen = parts.signers_for(publisher.trust().roles["personaliser"], signers)
    return sign(DeviceManifest.TYPE, permit.dumps(), chosen).to_bytes()


@dataclass(slots=True)
class _Rate:
    """How often each client asked within a minute."""

    most: int
    clock: Callable[[], float]
    heard: OrderedDict[str, list[float]] = field(default_factory=OrderedDict)

    def allows(self, client: str) -> bool:
        now = self.clock()
        recent = [at for at in self.heard.pop(client, []) if now - at < 60]
        allowed = len(recent) < self.most
        self.heard[client] = [*recent, now] if allowed else recent
        while len(self.heard) > _CLIENTS:
            self.heard.popitem(last=False)
        return allowed


def service(
    publisher: Callable[[], Publisher],
    signers: Sequence[Signer],
    *,
    clock: Callable[[], float],
    bounds: Bounds | None = None,
) -> Starlette:
    """The application: ``publisher`` opens the repository as it is now, ``clock`` counts seconds."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    limits = bounds or Bounds()
    rate = _Rate(limits.per_minute, clock)

    def refused(error: DeltasealError, status: int) -> Response:
        return JSONResponse(error.to_json(), status)

    async def answer(asked: HttpRequest) -> Response:
        client = asked.client.host if asked.client else ""
        if not rate.allows(client):
            too_often = LimitError(f"more than {limits.per_minute} requests in a minute")
            return refused(too_often, 429)
        try:
            body = await _within(limits.seconds, _body(asked, limits.body))
            request = Request.loads(body)
            id = asked.path_params["id"]
            made = await run_in_threadpool(issue, publisher(), id, request, signers, lives=limits.lives)
        except DeltasealError as error:
            return refused(error, _STATUS.get(error.reason, 400))
        return Response(made, media_type="application/octet-stream")

    return Starlette(routes=[Route("/{id}", answer, methods=["POST"])])


async def _within(seconds: float, work: Awaitable[bytes]) -> bytes:
    try:
        return await asyncio.wait_for(work, seconds)
    except TimeoutError as error:
        raise NetworkError(f"the request took longer than {seconds:g} s to come in") from error


async def _body(asked: HttpRequest, most: int) -> bytes:
    whole = b""
    async for piece in asked.stream():
        whole += piece
        if len(whole) > most:
            raise LimitError(f"a request has at most {most} bytes", limit=most)
    return whole
