"""The second decoder of image deltas and ours say the same; and the goldens."""

from __future__ import annotations

import hashlib
import random
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native.images import CORPUS
from spec import delta_reader, stream_reader
from spec.make_golden import GOLDEN, PAIRS, streams
from support.image_delta import Block, plain
from support.old_images import build_library, library_source, old_image

from deltaseal import _core, images
from deltaseal.errors import DeltasealError
from deltaseal.images.container import write_streams

PAGE = (Path(__file__).parents[2] / "docs/spec/delta-format.md").read_text()


def apply(old: bytes, delta: bytes) -> bytes:
    pieces: list[bytes] = []
    images.apply(old, delta, lambda piece: pieces.append(bytes(piece)))
    return b"".join(pieces)


def test_the_example_of_the_page() -> None:
    text = re.search(r"^```\n(D5 64.*?)```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert text is not None
    delta = bytes.fromhex(text[1])
    assert stream_reader.decode(b"hello", delta) == b"hello" == apply(b"hello", delta)


def test_the_page_lists_every_kind() -> None:
    named = re.findall(r"^\| [\d–]+ \| ([A-Z0-9_]+)(–\d)? \|", PAGE, flags=re.MULTILINE)
    rows = {name for name, more in named if not more}
    rows |= {f"{name[:-1]}{n}" for name, more in named if more for n in range(1, 5)}
    assert rows == set(delta_reader.KINDS)


OLD = bytes(range(256)) * 3 + b"The quick brown fox jumps over the lazy dog. " * 30
PLAIN_PAIRS = {
    "equal": (OLD, OLD),
    "empty-old": (b"", OLD),
    "empty-new": (OLD, b""),
    "both-empty": (b"", b""),
    "moved": (OLD, OLD[700:] + b"new words" + OLD[:500]),
    "changed": (OLD, OLD.replace(b"fox", b"cat")),
    "doubled": (OLD, OLD + OLD[::-1] + OLD),
    "large": (OLD * 40, b"x".join(OLD[n:] for n in range(0, 400, 10))),
}


@pytest.mark.parametrize("digests", [True, False])
@pytest.mark.parametrize("name", PLAIN_PAIRS)
def test_plain_bytes(name: str, digests: bool) -> None:
    old, new = PLAIN_PAIRS[name]
    delta = images.diff_bytes(old, new, digests=digests)
    assert stream_reader.decode(old, delta) == new == apply(old, delta)


@settings(deadline=None, max_examples=50)
@given(
    old=st.binary(max_size=200),
    cuts=st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=40)), max_size=8),
)
def test_edits_of_any_bytes(old: bytes, cuts: list[tuple[int, bytes]]) -> None:
    new = b"".join(old[at : at + 50] + more for at, more in cuts)
    assert stream_reader.decode(old, images.diff_bytes(old, new)) == new


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Libraries of few and of many functions, and what became of them."""
    folder = tmp_path_factory.mktemp("libraries")
    made = {"small": (6, 0), "small-next": (6, 1), "large": (120, 0), "large-next": (120, 4)}
    return {
        name: build_library(library_source(functions, changed=changed), folder / name)
        for name, (functions, changed) in made.items()
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("small", "small-next"),
        ("small-next", "small"),
        ("large", "large-next"),
        ("large-next", "large"),
        ("small", "large"),
        ("large", "small"),
    ],
)
def test_real_images(libraries: dict[str, Path], old: str, new: str) -> None:
    old_bytes, new_bytes = libraries[old].read_bytes(), libraries[new].read_bytes()
    delta = images.diff_bytes(old_bytes, new_bytes)
    image = old_image(libraries[old])
    assert image.references and not delta_reader.read_header(delta).plain
    assert stream_reader.decode(old_bytes, delta, image) == new_bytes


def test_a_real_image_of_another_format(libraries: dict[str, Path]) -> None:
    seeds = Path(__file__).parents[2] / "native/fuzz/seeds/image"
    for name in ("classic.dylib", "universal.dylib"):
        old, new = libraries["small"].read_bytes(), (seeds / name).read_bytes()
        delta = images.diff_bytes(old, new)
        assert stream_reader.decode(old, delta, old_image(libraries["small"])) == new
        back = images.diff_bytes(new, old)
        assert stream_reader.decode(new, back, old_image(seeds / name)) == old


# Much code: a frame of several zstd frames


def image_of_code(code: bytes) -> bytes:
    """An ELF image of one segment, all of it code."""
    names = (b"\x7fELF\x02\x01\x01", 3, 62, 1, 4096, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 120, 4096, 0, len(code), len(code), 1)
    return struct.pack("<16sHHIQQQIHHHHHH", *names) + segment + code


@pytest.fixture(scope="module")
def much_code(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """An old image, and a new one with more than a megabyte of new code all over it."""
    draw = random.Random(4)
    words = [draw.randbytes(6) for _ in range(3000)]
    known = [b"".join(draw.choices(words, k=400)) for _ in range(40)]
    fresh = [b"".join(draw.choices(words, k=4700)) for _ in known]
    path = tmp_path_factory.mktemp("code") / "old"
    path.write_bytes(image_of_code(b"".join(known)))
    return path, image_of_code(b"".join(a + b for a, b in zip(known, fresh, strict=True)))


def test_much_code_is_compressed_in_parts(much_code: tuple[Path, bytes]) -> None:
    path, new = much_code
    old = path.read_bytes()
    delta = images.diff_bytes(old, new)
    assert [images.diff_bytes(old, new, threads=threads) for threads in (2, 5)] == [delta, delta]
    assert stream_reader.decode(old, delta, old_image(path)) == new == apply(old, delta)
    header = delta_reader.read_header(delta)
    at = header.size
    for numbers, stored, _ in header.frames:
        if numbers == [delta_reader.CODE]:
            frame = delta[at : at + stored]
        at += stored
    first, second = _core.create(old, new, memory_bytes=1 << 28).code_parts()
    code, rest = delta_reader.decompress_first(frame, first.context)
    assert header.context and len(code) == second.start and len(rest) > 0


def test_parts_that_end_elsewhere_are_refused_by_both(much_code: tuple[Path, bytes]) -> None:
    path, new = much_code
    old = path.read_bytes()
    made = _core.create(old, new, memory_bytes=1 << 28)
    code = [made.stream(number) for number in range(delta_reader.STREAMS)]
    first, second = made.code_parts()
    for start in (second.start - 1, second.start + 1):
        known = {"old_size": len(old), "new_size": len(new), "digests": None, "plain": False, "threads": 1}
        delta = write_streams(code, code_parts=[first, second._replace(start=start)], **known)
        with pytest.raises(delta_reader.Refused):
            stream_reader.decode(old, delta, old_image(path))
        with pytest.raises(DeltasealError):
            apply(old, delta)


REFUSED = {
    "a length beyond the new image": bytes(plain(OLD, 10, [Block(0, 11, 0)])),
    "a copy beyond the old image": bytes(plain(OLD[:5], 10, [Block(0, 10, 0)])),
    "too few literals": bytes(plain(OLD, 10, [Block(1, 9, 0)])),
    "literals left": bytes(plain(OLD, 10, [Block(0, 10, 0)], data=b"1")),
    "a gap too far": bytes(plain(OLD, 10, [Block(0, 10, 0)], residuals=[(10, 1)])),
    "too many blocks": bytes(plain(OLD, 10, [Block(0, 10, 0)], count=2)),
    "streams too large": bytes(plain(OLD, 10, []).but(raw_sizes={5: 1 << 20})),
    "another revision": bytes(plain(OLD, 10, [Block(0, 10, 0)]).but(revision=99)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_both_refuse(name: str) -> None:
    old = OLD[:5] if name == "a copy beyond the old image" else OLD
    with pytest.raises(delta_reader.Refused):
        stream_reader.decode(old, REFUSED[name])
    with pytest.raises(DeltasealError):
        apply(old, REFUSED[name])


GOOD = images.diff_bytes(OLD, OLD[700:] + b"new words" + OLD[:500], digests=False)


@settings(deadline=None, max_examples=150)
@given(at=st.integers(9, len(GOOD) - 1), new=st.integers(0, 255))
def test_a_changed_delta_is_the_same_to_both(at: int, new: int) -> None:
    """Without digests: both refuse it, or both make the same bytes of it."""
    changed = GOOD[:at] + bytes([new]) + GOOD[at + 1 :]
    limits = images.Limits(output_bytes=1 << 20, memory_bytes=1 << 26, seconds=5)
    try:
        pieces: list[bytes] = []
        images.apply(OLD, changed, lambda piece: pieces.append(bytes(piece)), limits=limits)
        ours = b"".join(pieces)
    except DeltasealError:
        ours = None
    try:
        theirs = stream_reader.decode(OLD, changed, limit=1 << 20)
    except delta_reader.Refused:
        theirs = None
    assert ours == theirs


# Goldens


@pytest.mark.parametrize("name", PAIRS)
def test_a_golden_delta_still_applies(name: str) -> None:
    old, new, delta = ((GOLDEN / f"{name}.{what}").read_bytes() for what in ("old", "new", "delta"))
    assert apply(old, delta) == new
    assert stream_reader.decode(old, delta, old_image(GOLDEN / f"{name}.old")) == new


@pytest.mark.parametrize("name", PAIRS)
def test_the_creator_still_makes_the_golden_streams(name: str) -> None:
    """Where this fails, the decisions or the format changed: look at why, then `./dev golden`."""
    old, new, delta = ((GOLDEN / f"{name}.{what}").read_bytes() for what in ("old", "new", "delta"))
    header = delta_reader.read_header(delta)
    assert streams(old, new, plain=header.plain) == (GOLDEN / f"{name}.streams").read_text()
    assert [int(line.split()[1]) for line in (GOLDEN / f"{name}.streams").open()] == header.raw_sizes


def test_goldens_are_small_and_hold_references() -> None:
    assert all(path.stat().st_size < 60_000 for path in GOLDEN.iterdir())
    assert all(old_image(GOLDEN / f"{name}.old").references for name in PAIRS if name != "plain")


# Real pairs


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["libpng", "expat", "curl-arm64", "lxml-arm64"])
def test_real_pairs(name: str) -> None:
    old, new = (CORPUS / name / "old").read_bytes(), (CORPUS / name / "new").read_bytes()
    delta = images.diff_bytes(old, new)
    made = stream_reader.decode(old, delta, old_image(CORPUS / name / "old"))
    assert hashlib.sha256(made).digest() == hashlib.sha256(new).digest()
