"""H20 to H24: zstd frames inside a tree delta."""

from __future__ import annotations

from pathlib import Path

import pytest
import zstandard
from support.tree_delta import Delta, built, edit, frame, group, plan, varint
from support.trees import apply, plant, scan

from deltaseal.errors import DeltaError, DeltasealError, LimitError
from deltaseal.storage import BytesSource
from deltaseal.trees import inspect

CONTENT = b"all work and no play " * 50


def delta_of(
    old: Path, payload: bytes, *, size: int | None = None, coding: int = 1, sources: list[int] | None = None
) -> bytes:
    """A delta that makes the file ``a`` of CONTENT from ``payload``, with ``size`` declared."""
    declared = built(CONTENT) if size is None else varint(size) + built(CONTENT)[-4:]
    wanted = plan([edit(b"a", 2, declared)], [group(coding, sources or [], [0], len(payload))])
    return bytes(Delta(scan(old).digest, bytes(32), wanted, payload))


def refused(
    tmp_path: Path, payload: bytes, kind: type[DeltasealError], match: str, *, size: int | None = None
) -> None:
    old = plant(tmp_path / "old", {})
    dest = tmp_path / f"dest{len(list(tmp_path.iterdir()))}"
    with pytest.raises(kind, match=match):
        apply(old, delta_of(old, payload, size=size), dest)
    assert sum(file.stat().st_size for file in dest.iterdir()) <= len(CONTENT)


def test_a_good_frame_is_taken(tmp_path: Path) -> None:
    old = plant(tmp_path / "old", {})
    with pytest.raises(DeltasealError, match="digest"):  # the helper promises no real tree
        apply(old, delta_of(old, frame(CONTENT)), tmp_path / "dest")
    assert (tmp_path / "dest/a").read_bytes() == CONTENT


def test_H20_window_over_cap(tmp_path: Path) -> None:
    refused(tmp_path, frame(CONTENT, window_log=26), LimitError, "window of 67108864 bytes, over 33554432")


def test_H20_window_just_under_cap(tmp_path: Path) -> None:
    old = plant(tmp_path / "old", {})
    with pytest.raises(DeltasealError, match="digest"):
        apply(old, delta_of(old, frame(CONTENT, window_log=25)), tmp_path / "dest")


def test_H20_window_over_the_smaller_cap_behind_old_bytes(tmp_path: Path) -> None:
    old = plant(tmp_path / "old", {"b": b"old bytes"})
    payload = frame(CONTENT, window_log=25)
    with pytest.raises(LimitError, match="over 16777216"):
        apply(old, delta_of(old, payload, coding=2, sources=[0]), tmp_path / "dest")


def test_H21_output_over_declared(tmp_path: Path) -> None:
    refused(tmp_path, frame(CONTENT + b"more"), LimitError, "more than the 1050 bytes declared")


def test_H21_output_under_declared(tmp_path: Path) -> None:
    refused(tmp_path, frame(CONTENT[:-1]), DeltaError, "unpacks to 1049 bytes")


def test_H22_bomb_ratio(tmp_path: Path) -> None:
    payload = frame(bytes(1 << 22))
    refused(tmp_path, payload, LimitError, "cannot unpack", size=len(payload) * 32768 + 1)
    refused(tmp_path, payload, LimitError, "more than")


def test_H22_bomb_in_the_plan() -> None:
    stored = frame(bytes(1 << 22))
    bomb = Delta(bytes(32), bytes(32), bytes(1 << 22), coding=1, stored_plan=stored)
    with pytest.raises(DeltaError, match="too many"):
        inspect(BytesSource(bytes(bomb)))
    bomb.plan = bytes((1 << 26) + 1)
    with pytest.raises(LimitError, match="plan has 67108865 bytes"):
        inspect(BytesSource(bytes(bomb)))


@pytest.mark.parametrize("identity", [1, 2, 3])
def test_H23_dictionary_id(tmp_path: Path, identity: int) -> None:
    good = frame(CONTENT)
    size = {1: 1, 2: 2, 3: 4}[identity]
    refused(tmp_path, bytes([identity, good[1]]) + bytes(size) + good[2:], DeltaError, "dictionary id")


def test_H23_second_frame(tmp_path: Path) -> None:
    half = len(CONTENT) // 2
    two = frame(CONTENT[:half]) + frame(CONTENT[half:])
    refused(tmp_path, two, DeltaError, r"ends after \d+ of its \d+ bytes")


def test_H23_skippable_frame(tmp_path: Path) -> None:
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"skip"
    refused(tmp_path, skippable + frame(CONTENT), DeltaError, "magic number")
    refused(tmp_path, frame(CONTENT) + skippable, DeltaError, "ends after")


@pytest.mark.parametrize("option", ["content_size", "checksum"])
def test_H23_anything_optional(tmp_path: Path, option: str) -> None:
    refused(tmp_path, frame(CONTENT, **{option: True}), DeltaError, "or a content size|ends after")


def test_H23_a_usual_frame_with_its_magic(tmp_path: Path) -> None:
    refused(tmp_path, zstandard.compress(CONTENT), DeltaError, "magic number")


def test_H24_truncated(tmp_path: Path) -> None:
    good = frame(CONTENT)
    for size in range(len(good)):
        old = plant(tmp_path / "old", {})
        with pytest.raises(DeltaError, match="cut short"):
            apply(old, delta_of(old, good[:size]), tmp_path / f"dest{size}")


def test_H24_a_block_of_the_reserved_kind(tmp_path: Path) -> None:
    refused(tmp_path, bytes([0, 56, 7, 0, 0]), DeltaError, "a block that is none")


def test_H24_a_damaged_block(tmp_path: Path) -> None:
    good = frame(CONTENT)
    for place in range(5, len(good)):
        broken = good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :]
        old = plant(tmp_path / "old", {})
        with pytest.raises(DeltasealError):
            apply(old, delta_of(old, broken), tmp_path / f"dest{place}")
