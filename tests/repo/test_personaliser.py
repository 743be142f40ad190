"""The personaliser's service: one thing, bounded."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient
from support.devices import BUILD, DAY, MODEL, MemorySource, World, bundle
from support.repository import NOW, Vendor, all_keys, keys

from deltaseal.manifest import DeviceManifest, Personal, Request
from deltaseal.manifest.device_manifest import MAX_REQUEST_BYTES
from deltaseal.repo.personaliser import Bounds, service
from deltaseal.trust import UnverifiedDocument

ID = "macos-26.3.1-a"
ASKED = Request(Personal("ab" * 16, "cd" * 16), "macos", MODEL, BUILD)


@pytest.fixture
def vendor() -> Vendor:
    return Vendor().release(bundle("a"))


def client(vendor: Vendor, *, bounds: Bounds | None = None, clock: list[float] | None = None) -> TestClient:
    at = clock if clock is not None else [0.0]
    app = service(lambda: vendor.publisher, keys("personaliser"), clock=lambda: at[0], bounds=bounds)
    return TestClient(app)


def test_a_device_gets_a_manifest_of_its_own_and_takes_it(vendor: Vendor, tmp_path: Path) -> None:
    world = World(clock=NOW)
    device = vendor.device(tmp_path / "device", world)
    answer = client(vendor).post(f"/{ID}", content=device.request().dumps())
    assert answer.status_code == 200
    document = UnverifiedDocument.loads(answer.content)
    issued = DeviceManifest.loads(document.body)
    assert issued.personal is not None and issued.personal.device == device.identity().id
    assert issued.expires == NOW + DAY
    source = MemorySource(
        bundles={bundle("a").digest: bundle("a").to_bytes()},
        manifests=[document],
        catalogue=vendor.listed(),
    )
    assert device.update([source]).state == "ACTIVE"


def test_what_is_published_narrows_what_is_issued(vendor: Vendor) -> None:
    vendor.publisher.offer(ID, signers=all_keys(), channel="seed", phase=3, paused=True)
    vendor.publisher.publish(all_keys())
    answer = client(vendor).post(f"/{ID}", content=ASKED.dumps())
    issued = DeviceManifest.loads(UnverifiedDocument.loads(answer.content).body)
    assert (issued.channel, issued.phase, issued.paused) == ("seed", 3, True)


@pytest.mark.parametrize(
    "asked",
    [
        Request(ASKED.personal, "macos", "Mac99,9", BUILD),
        Request(ASKED.personal, "ios", MODEL, BUILD),
        Request(ASKED.personal, "macos", MODEL, "25E246"),
    ],
)
def test_what_is_not_offered_is_not_issued(vendor: Vendor, asked: Request) -> None:
    answer = client(vendor).post(f"/{ID}", content=asked.dumps())
    assert (answer.status_code, answer.json()["reason"]) == (404, "E_USAGE")
    assert client(vendor).post("/no-such-id", content=ASKED.dumps()).status_code == 404


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"kind":"deltaseal/request"}', b"\xff"])
def test_what_is_no_request(vendor: Vendor, body: bytes) -> None:
    answer = client(vendor).post(f"/{ID}", content=body)
    assert (answer.status_code, answer.json()["reason"]) == (400, "E_TYPE")


def test_one_byte_over_the_limit(vendor: Vendor) -> None:
    padded = ASKED.dumps() + b" " * (MAX_REQUEST_BYTES - len(ASKED.dumps()))
    assert client(vendor).post(f"/{ID}", content=padded).status_code == 200
    answer = client(vendor).post(f"/{ID}", content=padded + b" ")
    assert (answer.status_code, answer.json()["reason"]) == (413, "E_LIMIT")


def test_a_body_that_never_ends(vendor: Vendor) -> None:
    import asyncio

    app = service(
        lambda: vendor.publisher, keys("personaliser"), clock=lambda: 0.0, bounds=Bounds(seconds=0.05)
    )
    sent: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/{ID}",
        "raw_path": f"/{ID}".encode(),
        "query_string": b"",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
    }
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 408


def test_a_client_that_asks_too_often(vendor: Vendor) -> None:
    clock = [0.0]
    asking = client(vendor, bounds=Bounds(per_minute=2), clock=clock)
    answers = [asking.post(f"/{ID}", content=ASKED.dumps()).status_code for _ in range(3)]
    assert answers == [200, 200, 429]
    clock[0] = 61.0
    assert asking.post(f"/{ID}", content=ASKED.dumps()).status_code == 200


@pytest.mark.parametrize(
    ("verb", "path"), [("GET", f"/{ID}"), ("POST", "/"), ("POST", f"/{ID}/more"), ("PUT", f"/{ID}")]
)
def test_it_does_nothing_else(vendor: Vendor, verb: str, path: str) -> None:
    assert client(vendor).request(verb, path).status_code in (404, 405)
