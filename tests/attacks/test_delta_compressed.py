"""Deltas whose lists of compressed streams lie: each is refused, by both readers for the same reason."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import pytest
from spec import delta_reader, stream_reader
from support.image_delta import Block, numbers, plain

from deltaseal import images
from deltaseal.errors import DeltasealError

CONTENT = b"abcabcabc" * 3 + bytes(range(40))
OLD = zlib.compress(CONTENT, 6)
RAW = (2, len(OLD) - 6)  # where the stream lies in OLD
STYLE = 5 + 9 * 7 + 81 * 6
SIZE = 100  # of the new image
LISTED = 130  # no derivations, and compressed streams


def stream_of(content: bytes) -> bytes:
    encoder = zlib.compressobj(6, zlib.DEFLATED, -15)
    return encoder.compress(content) + encoder.flush()


MADE = stream_of(CONTENT)


def delta(
    *,
    old_streams: Sequence[int] = (1, 0, RAW[0], RAW[1] - 1, 0),
    new_streams: Sequence[int] = (1, 0, 10, len(MADE) - 1, STYLE, len(CONTENT), 0),
    blocks: Sequence[Block] = (Block(SIZE, len(CONTENT), 24 + 8 * len(OLD)),),
    data: bytes = bytes(SIZE - len(MADE)),
    residuals: Sequence[tuple[int, int]] = (),
) -> bytes:
    """The new image: zeros round the stream, which is made from the old tail's content."""
    layout = numbers(0, 0, LISTED, *old_streams, *new_streams)
    return bytes(plain(OLD, SIZE, list(blocks), data=data, layout=layout, residuals=residuals))


def both_say(made: bytes) -> str:
    try:
        second = stream_reader.decode(OLD, made)
    except delta_reader.Refused as refusal:
        second = refusal.reason.encode()
    pieces: list[bytes] = []
    try:
        images.apply(OLD, made, lambda piece: pieces.append(bytes(piece)))
        first = b"".join(pieces)
    except DeltasealError as error:
        first = error.reason.encode()
    assert first == second
    return first.decode("latin-1")


def test_the_honest_one_applies() -> None:
    assert both_say(delta()) == (bytes(10) + MADE + bytes(SIZE - 10 - len(MADE))).decode("latin-1")


def test_a_residual_in_the_tail_changes_the_stream() -> None:
    changed = stream_of(b"b" + CONTENT[1:])
    new_streams = (1, 0, 10, len(changed) - 1, STYLE, len(CONTENT), 0)
    made = delta(new_streams=new_streams, residuals=[(0, 1)], data=bytes(SIZE - len(changed)))
    assert changed.decode("latin-1") in both_say(made)


GOOD_NEW = (1, 0, 10, len(MADE) - 1, STYLE, len(CONTENT), 0)
LIES: dict[str, tuple[str, bytes]] = {
    "derivations": ("E_LIMIT", bytes(plain(OLD, SIZE, [], data=bytes(SIZE), layout=numbers(0, 0, 520)))),
    "old piece outside": ("E_DELTA", delta(old_streams=(1, 0, RAW[0], len(OLD), 0))),
    "old piece short": ("E_DELTA", delta(old_streams=(1, 0, RAW[0], RAW[1] - 2, 0))),
    "old piece long": ("E_DELTA", delta(old_streams=(1, 0, RAW[0], RAW[1], 0))),
    "old piece is no stream": ("E_DELTA", delta(old_streams=(1, 0, 0, 20, 0))),
    "old style": ("E_DELTA", delta(old_streams=(1, 0, RAW[0], RAW[1] - 1, 1135))),
    "old streams": ("E_LIMIT", delta(old_streams=(1025,))),
    "pieces": ("E_LIMIT", delta(old_streams=(1, 8192))),
    "no new stream": ("E_DELTA", delta(new_streams=(0,))),
    "new piece outside": ("E_DELTA", delta(new_streams=(1, 0, 60, *GOOD_NEW[3:]))),
    "new style": ("E_DELTA", delta(new_streams=(*GOOD_NEW[:4], 1134, *GOOD_NEW[5:]))),
    "stream one byte short": ("E_DELTA", delta(new_streams=(1, 0, 10, len(MADE), *GOOD_NEW[4:]))),
    "stream one byte long": ("E_DELTA", delta(new_streams=(1, 0, 10, len(MADE) - 2, *GOOD_NEW[4:]))),
    "another style": (
        "E_DELTA",
        delta(
            new_streams=(*GOOD_NEW[:4], 81 * 6, *GOOD_NEW[5:-2], len(CONTENT) - 2, 2),
        ),
    ),
    "content larger than all else": ("E_LIMIT", delta(new_streams=(*GOOD_NEW[:5], 8 * SIZE + 65_537, 0))),
    "recipe of all ones": ("E_LIMIT", delta(new_streams=(*GOOD_NEW[:6], 2**64 - 1))),
    "block over the stream": ("E_DELTA", delta(blocks=(Block(0, 11, 0), Block(89, 67, 24 + 8 * 53)))),
    "block over the new end": ("E_DELTA", delta(blocks=(Block(SIZE - 1, 5, 24),))),
    "block over the old end": ("E_DELTA", delta(blocks=(Block(SIZE, 5, 24 + 8 * (len(OLD) - 1)),))),
    "block behind the old tail": (
        "E_DELTA",
        delta(blocks=(Block(SIZE, len(CONTENT), 24 + 8 * (len(OLD) + 1)),)),
    ),
    "block behind the new tail": (
        "E_DELTA",
        delta(blocks=(Block(SIZE + 1, len(CONTENT), 24 + 8 * len(OLD)),)),
    ),
    "literals for the stream": ("E_DELTA", delta(data=bytes(SIZE))),
}


@pytest.mark.parametrize("lie", LIES)
def test_lists_that_lie(lie: str) -> None:
    reason, made = LIES[lie]
    assert both_say(made) == reason


def test_a_stream_that_unpacks_to_more_than_is_allowed() -> None:
    old = zlib.compress(bytes(2**26 + 1), 9)
    layout = numbers(0, 0, LISTED, 1, 0, 2, len(old) - 7, 0, *GOOD_NEW)
    made = bytes(plain(old, SIZE, [], data=bytes(SIZE), layout=layout))
    with pytest.raises(DeltasealError) as caught:
        images.apply(old, made, lambda _: None)
    assert caught.value.reason == "E_LIMIT"
