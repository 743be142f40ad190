"""A repository in an object store: a server that speaks S3, on this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from support.devices import BUILD, MODEL, World, bundle
from support.repository import NOW, MemoryFolder, Vendor, all_keys

from deltaseal.errors import LockedError, UsageError
from deltaseal.fleet.repositories import RepositoryPlace
from deltaseal.fleet.rollout import Rollout, carry_out, standing
from deltaseal.repo import FsspecFolder, Publisher, Repository, first_files, open_folder
from deltaseal.repo.folders import LOCK, copy_all, pieces_of
from deltaseal.repo.upkeep import prune
from deltaseal.storage import MissingError


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The server's URL."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        moto.start()
        host, port = moto.get_host_and_port()
        try:
            yield f"http://{host}:{port}"
        finally:
            moto.stop()


@pytest.fixture
def folder(server: str) -> FsspecFolder:
    """A fresh folder in a bucket."""
    found = FsspecFolder(
        "s3://bucket/repository",
        client_kwargs={"endpoint_url": server},
        s3_additional_kwargs={"ACL": "public-read"},  # devices come without keys
    )
    found._files.makedirs("bucket", exist_ok=True)
    for name in found.names(""):
        found.remove([name.lstrip("/")])
    return found


def test_files_are_put_read_listed_removed(folder: FsspecFolder) -> None:
    folder.put({"a/b": pieces_of(b"one"), "a/c": pieces_of(bytes(100_000)), "d": pieces_of(b"")})
    assert folder.read("a/b") == b"one"
    assert folder.names("a") == ["a/b", "a/c"]
    assert folder.open("a/c").size() == 100_000
    assert folder.open("a/b").read_at(1, 1) == b"n"
    assert folder.open("d").read_at(0, 0) == b""
    folder.remove(["a/b", "a/nothing"])
    for look in (folder.read, folder.open):
        with pytest.raises(MissingError):
            look("a/b")


def test_a_repository_is_published_to_it_and_fetched_from_it(
    folder: FsspecFolder, server: str, tmp_path: object
) -> None:
    vendor = Vendor()
    copy_all(MemoryFolder(vendor.files), folder, sorted(vendor.files))
    vendor.publisher = Publisher(folder, NOW)
    vendor.release(bundle("a"))
    mirror = Repository.at(f"{server}/bucket/repository")
    root = folder.read("metadata/1.root.json")
    trust, files = first_files(root, [mirror], os="macos", build=BUILD, model=MODEL, now=NOW)
    from support.devices import signed_base, trees

    from deltaseal.device import create

    device = create(
        tmp_path / "device",  # type: ignore[operator]
        base=signed_base(),
        trees=trees(),
        trust=trust,
        model=MODEL,
        edge=World(clock=NOW).edge(),
        metadata=files,
    )
    assert device.update([mirror]).state == "ACTIVE"
    vendor.renew(later=60)
    vendor.release(bundle("a"), bundle("b"))
    assert prune(vendor.publisher, keep=0)
    assert device.update([mirror]).name == "macOS 26.3.1 (b)"
    assert vendor.publisher.publish(all_keys()).roles == ("timestamp",)


def test_a_rollout_is_moved_in_an_object_store(folder: FsspecFolder) -> None:
    vendor = Vendor().release(bundle("a"))
    copy_all(vendor.publisher.folder, folder, sorted(vendor.files))
    place = RepositoryPlace(folder, now=NOW + 10)
    plan = Rollout(place, NOW + 10).set("macos-26.3.1-a", phase=300)
    carry_out(plan, place, all_keys())
    (one,) = standing(place)
    assert one.permit is not None
    assert one.permit.phase == 300


def test_a_store_that_nobody_knows() -> None:
    with pytest.raises(UsageError):
        open_folder("nosuchstore://bucket")


def test_a_second_publisher_of_an_object_store_is_told(folder: FsspecFolder, server: str) -> None:
    vendor = Vendor().release(bundle("a"))
    copy_all(vendor.publisher.folder, folder, sorted(vendor.files))
    other = FsspecFolder(folder.name, client_kwargs={"endpoint_url": server})
    before = folder.names("")
    with folder.locked():
        with pytest.raises(LockedError, match="another publisher is at work") as error:
            Publisher(other, NOW + 60).publish(all_keys())
        assert f"remove the object {LOCK}" in error.value.hint
        Publisher(folder, NOW + 60).publish(all_keys())
    assert LOCK not in [name.lstrip("/") for name in folder.names("")]
    Publisher(other, NOW + 120).publish(all_keys())
    assert set(before) <= set(folder.names(""))


def test_the_lock_that_a_killed_publisher_left_in_a_store_is_removed_by_hand(folder: FsspecFolder) -> None:
    vendor = Vendor().release(bundle("a"))
    copy_all(vendor.publisher.folder, folder, sorted(vendor.files))
    folder.put({LOCK: pieces_of(b"")})
    with pytest.raises(LockedError):
        Publisher(folder, NOW + 60).offer("macos-26.3.1-a", signers=all_keys())
    folder.remove([LOCK])
    Publisher(folder, NOW + 60).offer("macos-26.3.1-a", signers=all_keys())
