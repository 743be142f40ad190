"""Compressed streams inside images: what changed in them costs what changed, bit by bit as it was."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spec import stream_reader
from support.compressed import lines, png

from deltaseal import images
from deltaseal.errors import DeltasealError

TEXT = lines(12_000)
EDITED = TEXT[:3000] + b"one line that was not there before\n" + TEXT[3000:9000] + TEXT[9100:]
NOISE = random.Random(3).randbytes(2000)


def apply(old: bytes, delta: bytes) -> bytes:
    pieces: list[bytes] = []
    images.apply(old, delta, lambda piece: pieces.append(bytes(piece)))
    return b"".join(pieces)


def delta_of(old: bytes, new: bytes, effort: str = "default") -> bytes:
    delta = images.diff_bytes(old, new, effort=effort, digests=False)
    assert apply(old, delta) == new
    return delta


def raw(content: bytes, level: int = 6, *, memory: int = 8, window: int = 15, strategy: int = 0) -> bytes:
    encoder = zlib.compressobj(level, zlib.DEFLATED, -window, memory, strategy)
    return encoder.compress(content) + encoder.flush()


def zlib_of(content: bytes, **told: int) -> bytes:
    return b"\x78\x9c" + raw(content, **told) + zlib.adler32(content).to_bytes(4, "big")


def zip_of(content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(zipfile.ZipInfo("a"), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


WRAPPERS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.compress,
    "zlib-best": lambda content: zlib.compress(content, 9),
    "zlib-fast": lambda content: zlib.compress(content, 1),
    "small-memory": lambda content: zlib_of(content, memory=2),
    "filtered": lambda content: zlib_of(content, strategy=zlib.Z_FILTERED),
    "gzip": lambda content: gzip.compress(content, 9, mtime=0),
    "zip": zip_of,
    "png": lambda content: png(content, 1000),
}


def in_noise(wrapper: str) -> tuple[bytes, bytes]:
    old, new = (NOISE + WRAPPERS[wrapper](content) + NOISE[:700] for content in (TEXT, EDITED))
    return old, new


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_model_codes_it_in_less(wrapper: str) -> None:
    old, new = in_noise(wrapper)
    assert len(delta_of(old, new, "best")) < len(delta_of(old, new))


@pytest.mark.parametrize("cut", range(5, 60, 7))  # several last bytes end in the same decisions
def test_a_damaged_modelled_delta_is_refused(cut: int) -> None:
    old, new = in_noise("zlib")
    delta = bytearray(images.diff_bytes(old, new, effort="best"))
    delta[-cut] ^= 0x40
    with pytest.raises(DeltasealError) as caught:
        apply(old, bytes(delta))
    assert caught.value.reason in {"E_DELTA", "E_LIMIT", "E_DIGEST"}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_changed_stream_costs_what_changed_in_it(wrapper: str) -> None:
    old, new = in_noise(wrapper)
    delta = delta_of(old, new)
    assert stream_reader.decode(old, delta) == new
    assert len(delta) < 300
    # Level 0 stores: what the same edit costs where nothing is compressed.
    stored = delta_of(NOISE + zlib.compress(TEXT, 0), NOISE + zlib.compress(EDITED, 0))
    assert len(delta) < len(stored) + 120


@pytest.mark.parametrize(
    "encode",
    [
        lambda content: zlib_of(content, strategy=zlib.Z_FIXED),
        lambda content: zlib_of(content, window=12),
        lambda content: b"\x78\x9c" + flushed(content) + zlib.adler32(content).to_bytes(4, "big"),
    ],
    ids=["fixed", "untold window", "flushed"],
)
def test_what_zlib_would_not_do_is_told_once(encode: Callable[[bytes], bytes]) -> None:
    old, new = NOISE + encode(TEXT), NOISE + encode(EDITED)
    delta = delta_of(old, new)
    assert stream_reader.decode(old, delta) == new
    assert len(delta) < 700 and len(delta) < len(encode(EDITED)) / 3


def flushed(content: bytes) -> bytes:
    encoder = zlib.compressobj(6, zlib.DEFLATED, -15)
    parts = [content[at : at + 1500] for at in range(0, len(content), 1500)]
    return (
        b"".join(encoder.compress(part) + encoder.flush(zlib.Z_FULL_FLUSH) for part in parts)
        + encoder.flush()
    )


def test_equal_streams_are_copied_as_they_are() -> None:
    old = zlib.compress(TEXT) + NOISE
    delta = delta_of(old, NOISE + zlib.compress(TEXT))
    assert len(delta) < 60


def test_several_streams_at_once() -> None:
    contents = [lines(3000, seed) for seed in range(6)]
    edited = [content.replace(b"window", b"doorway") for content in contents]
    old = b"".join(zlib.compress(content) + NOISE[:90] for content in contents)
    new = b"".join(zlib.compress(content, 9) + NOISE[:70] for content in reversed(edited))
    delta = delta_of(old, new)
    assert stream_reader.decode(old, delta) == new
    assert len(delta) < len(new) / 3


def test_content_that_the_old_image_holds_elsewhere() -> None:
    """A stream of which an old one holds but a part; the rest stands in the old image as it is."""
    old = zlib.compress(TEXT[:4000]) + TEXT[4000:]
    delta = delta_of(old, zlib.compress(TEXT))
    assert len(delta) < 200


def test_a_stream_as_the_whole_image_and_none_in_the_other() -> None:
    for old, new in [(zlib.compress(TEXT), TEXT), (TEXT, zlib.compress(TEXT)), (b"", zlib.compress(TEXT))]:
        delta_of(old, new)


def test_where_memory_is_short_streams_stay_bytes() -> None:
    """20 MiB beside the program and the images do for these, and not for what their streams hold."""
    content = bytes(random.Random(5).choices(b"acegikmoqsuwy\n", k=1 << 20))
    old, new = zlib.compress(content), zlib.compress(content[:9000] + b"edit" + content[9000:])
    lean = images.diff_bytes(old, new, max_memory=(52 << 20) + len(old) + len(new))
    assert apply(old, lean) == new
    assert len(delta_of(old, new)) < 200 < len(lean)


@settings(deadline=None, max_examples=40)
@given(
    level=st.integers(1, 9),
    memory=st.integers(1, 9),
    seed=st.integers(0, 5),
    edits=st.lists(st.tuples(st.integers(0, 4000), st.binary(max_size=30)), max_size=5),
    cut=st.integers(1, 60),
)
def test_any_edit_of_any_stream(
    level: int, memory: int, seed: int, edits: list[tuple[int, bytes]], cut: int
) -> None:
    content = lines(4000, seed)
    changed = bytearray(content)
    for at, more in edits:
        changed[at : at + 7] = more
    old = NOISE[:cut] + zlib_of(content, level=level, memory=memory) + NOISE[cut:200]
    new = NOISE[cut:90] + zlib_of(bytes(changed), level=level, memory=memory) + NOISE[:100]
    delta_of(old, new)
    delta_of(old, new, "best")
