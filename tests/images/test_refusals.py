"""What must not be applied is not: damaged, foreign, too large, from other bytes. Nothing stays behind."""

from __future__ import annotations

import errno
import hashlib
import os
import random
from pathlib import Path

import pytest
from support.image_delta import Block, plain

from deltaseal import _core, images
from deltaseal.errors import (
    BaseMismatchError,
    DeltaError,
    DeltasealError,
    DigestError,
    LimitError,
    StorageError,
)

SEEDS = Path(__file__).parents[2] / "native/fuzz/seeds/image"
OLD = (SEEDS / "lazy.so").read_bytes()
NEW = OLD[:700] + bytes(24) + OLD[700:2400] + b"and some new words" + OLD[2500:]
DELTA = images.diff_bytes(OLD, NEW)
PLAIN = images.diff_bytes(b"hello, world; " * 9, b"hello, moon; " * 9)


def refuse(old: bytes, delta: bytes, error: type[DeltasealError], **limits: int) -> DeltasealError:
    with pytest.raises(error) as caught:
        images.apply(old, delta, lambda _: None, limits=images.Limits(**limits))
    return caught.value


def in_process(old: bytes, delta: bytes) -> bytes | None:
    """What the core makes of it; None where it refuses."""
    pieces: list[bytes] = []

    def take(piece: memoryview) -> bool:
        pieces.append(bytes(piece))
        return True

    try:
        _core.apply(old, delta, take, output_bytes=1 << 20, memory_bytes=1 << 27)
    except _core.CoreError:
        return None
    return b"".join(pieces)


@pytest.mark.parametrize("delta", [DELTA, PLAIN], ids=["image", "plain"])
def test_every_flipped_bit_is_refused_or_without_effect(delta: bytes) -> None:
    old, new = (OLD, NEW) if delta is DELTA else (b"hello, world; " * 9, b"hello, moon; " * 9)
    assert in_process(old, delta) == new
    harmless = 0
    for at in range(len(delta)):
        for bit in range(8):
            changed = delta[:at] + bytes([delta[at] ^ 1 << bit]) + delta[at + 1 :]
            made = in_process(old, changed)
            assert made in (None, new), f"byte {at}, bit {bit}"
            harmless += made is not None
    assert 24 <= harmless < 8 * len(delta) // 4  # the three bytes of the zstd version are for information


def test_every_flipped_byte_is_refused_by_the_confined_child() -> None:
    for at in range(len(DELTA)):
        changed = DELTA[:at] + bytes([DELTA[at] ^ 0xFF]) + DELTA[at + 1 :]
        pieces: list[bytes] = []
        try:
            images.apply(OLD, changed, lambda piece, to=pieces: to.append(bytes(piece)))
        except DeltasealError as error:
            assert error.reason in ("E_DELTA", "E_LIMIT", "E_BASE", "E_DIGEST"), f"byte {at}: {error}"
        else:
            assert b"".join(pieces) == NEW, f"byte {at}"


def test_every_truncation_is_refused() -> None:
    for size in range(len(DELTA)):
        assert in_process(OLD, DELTA[:size]) is None
        if size % 16 == 0:
            refuse(OLD, DELTA[:size], DeltaError)


def test_bytes_behind_the_end_are_refused() -> None:
    refuse(OLD, DELTA + b"\0", DeltaError)
    refuse(OLD, DELTA + DELTA, DeltaError)


FOREIGN = {
    "empty": b"",
    "an-image": OLD,
    "words": b"some words",
    "a-tree-delta": b"DSTREE\0" + bytes(100),
    "zstd": bytes.fromhex("28b52ffd2000010000"),
    "bsdiff": b"BSDIFF40" + bytes(100),
    "only-the-magic": DELTA[:4],
    "zeros": bytes(1000),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_are_no_deltas(name: str, tmp_path: Path) -> None:
    with pytest.raises(DeltaError) as caught:
        images.inspect(FOREIGN[name])
    assert "not an image delta" in str(caught.value)
    refuse(OLD, FOREIGN[name], DeltaError)
    (tmp_path / "delta").write_bytes(FOREIGN[name])
    with pytest.raises(DeltaError):
        images.apply(OLD, tmp_path / "delta", lambda _: None)


def test_the_wrong_old_file_says_both_digests() -> None:
    wrong = OLD[:-1] + b"!"
    for found in (wrong, OLD + b"!", OLD[:-1], b""):
        error = refuse(found, DELTA, BaseMismatchError)
        assert error.facts["expected_sha256_128"] == hashlib.sha256(OLD).hexdigest()[:32]
        assert error.facts["found_sha256"] == hashlib.sha256(found).hexdigest()
        assert (error.facts["expected_size"], error.facts["found_size"]) == (len(OLD), len(found))
        assert error.facts["expected_sha256_128"] + "…" in str(error)
        assert error.facts["found_sha256"] in str(error)
        assert error.exit_code == 13 and error.hint


def test_nothing_is_handed_out_before_the_old_file_is_checked() -> None:
    pieces: list[bytes] = []
    with pytest.raises(BaseMismatchError):
        images.apply(OLD[:-1] + b"!", DELTA, lambda piece: pieces.append(bytes(piece)))
    assert pieces == []


def test_new_applied_to_new_is_the_wrong_old_file() -> None:
    refuse(NEW, DELTA, BaseMismatchError)


def test_a_delta_without_digests_still_knows_the_old_size() -> None:
    delta = images.diff_bytes(OLD, NEW, digests=False)
    error = refuse(OLD[:-1], delta, BaseMismatchError)
    assert error.facts["expected_sha256_128"] is None and str(len(OLD)) in str(error).replace(",", "")


def test_a_result_other_than_promised() -> None:
    changed = bytearray(DELTA)
    at = DELTA.index(hashlib.sha256(NEW).digest()[:16])
    changed[at] ^= 1
    refuse(OLD, bytes(changed), DigestError)


# Limits


def test_an_output_just_at_and_just_over_the_limit() -> None:
    assert images.apply(OLD, DELTA, lambda _: None, limits=images.Limits(output_bytes=len(NEW))).size == len(
        NEW
    )
    error = refuse(OLD, DELTA, LimitError, output_bytes=len(NEW) - 1)
    assert error.facts == {"new_size": len(NEW), "output_bytes": len(NEW) - 1} and error.exit_code == 19


def test_too_little_memory_is_a_limit() -> None:
    error = refuse(OLD, DELTA, LimitError, memory_bytes=1 << 16)
    assert "memory" in str(error) or "allow" in str(error)


def test_memory_of_applying_is_bounded_by_a_constant() -> None:
    """64 MB of new bytes from 32 MB of old ones, with 4 MiB."""
    old = random.Random(1).randbytes(1 << 20) * 32
    delta = bytes(
        plain(old, 2 * len(old), [Block(0, len(old), 0), Block(0, len(old), 24 + 4 * (2 * len(old) - 1))])
    )
    applied = images.apply(old, delta, lambda _: None, limits=images.Limits(memory_bytes=4 << 20))
    assert applied.sha256 == hashlib.sha256(old + old).digest()


def test_too_little_memory_to_create_is_a_limit() -> None:
    data = random.Random(1).randbytes(1 << 20)
    with pytest.raises(LimitError) as caught:
        images.diff_bytes(data, data[::-1], max_memory=1 << 20)
    assert caught.value.facts == {"max_memory": 1 << 20} and "--max-memory" in caught.value.hint


# Files that cannot be read


def test_files_that_are_not_there(tmp_path: Path) -> None:
    there, missing = tmp_path / "there", tmp_path / "missing"
    there.write_bytes(OLD)
    for old, delta in ((missing, DELTA), (OLD, missing)):
        with pytest.raises(StorageError, match="No such file"):
            images.apply(old, delta, lambda _: None)
    for old_path, new_path in ((missing, there), (there, missing)):
        with pytest.raises(StorageError, match="No such file"):
            images.diff(old_path, new_path)


def test_a_directory_for_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(OLD)
    for old, delta in ((tmp_path, DELTA), (OLD, tmp_path)):
        with pytest.raises(StorageError):
            images.apply(old, delta, lambda _: None)
    for pair in ((tmp_path, tmp_path / "file"), (tmp_path / "file", tmp_path)):
        with pytest.raises(StorageError):
            images.diff(*pair)


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the system says it; the superuser, who may read all, could not be refused for real."""
    (tmp_path / "secret").write_bytes(OLD)

    def refuse_to_open(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse_to_open)
    with pytest.raises(StorageError, match="Permission denied"):
        images.apply(tmp_path / "secret", DELTA, lambda _: None)


def test_an_error_of_the_sink_comes_out_and_the_child_ends() -> None:
    class Full(Exception):
        pass

    def sink(_: memoryview) -> None:
        raise Full

    with pytest.raises(Full):
        images.apply(OLD, DELTA, sink)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)  # no child is left, not even a dead one


def test_descriptors_are_given_back() -> None:
    def open_descriptors() -> set[str]:
        return {name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}

    before = open_descriptors()
    images.apply(OLD, DELTA, lambda _: None)
    refuse(OLD, DELTA[:-1], DeltaError)
    refuse(OLD + b"!", DELTA, BaseMismatchError)
    assert open_descriptors() == before
