"""What a delta is for: whatever old and new are, applying gives new back, exactly."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.old_images import build_library, library_source

from deltaseal import images
from deltaseal.errors import UsageError

SEEDS = Path(__file__).parents[2] / "native/fuzz/seeds/image"
IMAGES = sorted(path for path in SEEDS.iterdir() if path.suffix in (".so", ".dylib") or path.name == "fixed")


def apply(old: bytes, delta: bytes) -> bytes:
    pieces: list[bytes] = []
    applied = images.apply(old, delta, lambda piece: pieces.append(bytes(piece)))
    new = b"".join(pieces)
    assert applied.size == len(new)
    return new


# An edit script: what the new bytes are made of.
EDITS = st.one_of(
    st.tuples(st.just("copy"), st.integers(0, 1 << 16), st.integers(0, 5000)),
    st.tuples(st.just("insert"), st.integers(0, 1 << 16), st.integers(0, 100)),
    st.tuples(st.just("change"), st.integers(0, 1 << 16), st.integers(1, 5000)),
    st.tuples(st.just("fill"), st.integers(0, 255), st.integers(0, 3000)),
)


def edited(old: bytes, script: list[tuple[str, int, int]]) -> bytes:
    new = b""
    for what, number, size in script:
        at = number % (len(old) + 1)
        if what == "copy":
            new += old[at : at + size]
        elif what == "insert":
            new += random.Random(number).randbytes(size)
        elif what == "change":
            piece = bytearray(old[at : at + size])
            for place in range(0, len(piece), 97):
                piece[place] ^= 1 + number % 255
            new += piece
        else:
            new += bytes([number]) * size
    return new


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 1 << 32),
    size=st.integers(0, 20_000),
    script=st.lists(EDITS, max_size=12),
    digests=st.booleans(),
    effort=st.sampled_from(sorted(images.EFFORTS)),
)
def test_edit_scripts(
    seed: int, size: int, script: list[tuple[str, int, int]], digests: bool, effort: str
) -> None:
    draw = random.Random(seed)
    old = b"".join(draw.choice([draw.randbytes(8), b"\0" * 8, b"pattern "]) for _ in range(size // 8))
    new = edited(old, script)
    assert apply(old, images.diff_bytes(old, new, digests=digests, effort=effort)) == new


@settings(deadline=None, max_examples=60)
@given(old=st.binary(max_size=300), new=st.binary(max_size=300))
def test_any_bytes(old: bytes, new: bytes) -> None:
    assert apply(old, images.diff_bytes(old, new)) == new


@settings(deadline=None, max_examples=30)
@given(image=st.sampled_from(IMAGES), script=st.lists(EDITS, max_size=8), back=st.booleans())
def test_images_and_what_edits_make_of_them(
    image: Path, script: list[tuple[str, int, int]], back: bool
) -> None:
    old = image.read_bytes()
    new = edited(old, [("copy", 0, 1 << 12), *script])
    if back:
        old, new = new, old
    assert apply(old, images.diff_bytes(old, new)) == new


SMALL = [path for path in IMAGES if path.stat().st_size < 20_000]


@pytest.mark.parametrize("new", SMALL, ids=lambda path: path.name)
@pytest.mark.parametrize("old", SMALL, ids=lambda path: path.name)
def test_across_images_of_all_formats(old: Path, new: Path) -> None:
    assert apply(old.read_bytes(), images.diff_bytes(old.read_bytes(), new.read_bytes())) == new.read_bytes()


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.name)
def test_to_garbage_and_back(image: Path) -> None:
    data, garbage = image.read_bytes(), random.Random(1).randbytes(5000)
    for old, new in (
        (data, garbage),
        (garbage, data),
        (data, b""),
        (b"", data),
        (data, data[:64]),
        (data[:64], data),
    ):
        assert apply(old, images.diff_bytes(old, new)) == new


SIZES = [0, 1, 7, 8, 9, 63, 64, 4095, 4096, 32_767, 32_768, 32_769, 262_143, 262_144, 262_145, 300_001]


@pytest.mark.parametrize("size", SIZES)
def test_sizes_at_edges(size: int) -> None:
    old = random.Random(2).randbytes(size)
    for new in (old, old + b"1", b"1" + old, old[1:], old[:-1]):
        assert apply(old, images.diff_bytes(old, new)) == new


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.name)
def test_equal_images_are_a_tiny_delta(image: Path) -> None:
    data = image.read_bytes()
    assert len(images.diff_bytes(data, data)) < 130
    assert len(images.diff_bytes(data, data, digests=False)) < 66


def test_equal_large_files_are_a_tiny_delta() -> None:
    data = random.Random(3).randbytes(1 << 20)
    assert len(images.diff_bytes(data, data)) < 130


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    folder = tmp_path_factory.mktemp("versions")
    sources = library_source(150), library_source(150, changed=2)
    made = [build_library(text, folder / f"{n}.so") for n, text in enumerate(sources)]
    return made[0].read_bytes(), made[1].read_bytes()


@pytest.mark.parametrize("effort", sorted(images.EFFORTS))
def test_every_effort_gives_the_image_back(versions: tuple[bytes, bytes], effort: str) -> None:
    old, new = versions
    delta = images.diff_bytes(old, new, effort=effort)
    assert apply(old, delta) == new
    assert len(delta) < len(new) // 10


def test_references_make_a_delta_of_an_image_small(versions: tuple[bytes, bytes]) -> None:
    """All behind the change has moved: plain bytes pay for it, references do not."""
    old, new = versions
    delta = images.diff_bytes(old, new)
    assert not images.inspect(delta).header.plain
    hidden = images.diff_bytes(b"?" + old[1:], b"?" + new[1:])  # no longer an image to the parser
    assert len(delta) * 2 < len(hidden)


def test_an_unknown_effort_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="unknown effort 'most'"):
        images.diff_bytes(b"", b"", effort="most")


def test_files_and_bytes_give_the_same_delta(versions: tuple[bytes, bytes], tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for path, data in zip((old, new), versions, strict=True):
        path.write_bytes(data)
    delta = images.diff(old, new)
    assert delta == images.diff_bytes(*versions)
    (tmp_path / "delta").write_bytes(delta)
    pieces: list[bytes] = []
    images.apply(old, tmp_path / "delta", lambda piece: pieces.append(bytes(piece)))
    with open(old, "rb") as file:
        images.apply(file.fileno(), delta, lambda piece: pieces.append(bytes(piece)))
        assert os.fstat(file.fileno())  # the caller's descriptor stays open
    assert b"".join(pieces) == 2 * versions[1]


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads_do_not_change_the_bytes(versions: tuple[bytes, bytes], threads: int) -> None:
    assert images.diff_bytes(*versions, threads=threads) == images.diff_bytes(*versions)


def test_views_and_byte_arrays_are_taken(versions: tuple[bytes, bytes]) -> None:
    old, new = versions
    delta = images.diff_bytes(memoryview(old), bytearray(new))
    assert apply(old, delta) == new
    pieces: list[bytes] = []
    images.apply(memoryview(old), bytearray(delta), lambda piece: pieces.append(bytes(piece)))
    assert b"".join(pieces) == new


def this_libc() -> bytes:
    """The C library that runs this test: a real image of over a megabyte, on every machine."""
    mapped = Path("/proc/self/maps").read_text().split()
    return Path(next(word for word in mapped if "/libc.so" in word or "/libc-" in word)).read_bytes()


def test_an_image_whose_references_were_not_adjusted_costs_what_plain_bytes_cost() -> None:
    old = this_libc()
    new = old[: len(old) // 2] + b"inserted, and nothing adjusted" + old[len(old) // 2 :]
    delta = images.diff_bytes(old, new)
    assert apply(old, delta) == new
    assert len(delta) < 400


@pytest.mark.parametrize("effort", ["fast", "default", "best"])
@pytest.mark.parametrize("name", ["plain", "x86-64", "aarch64", "mach-o"])
def test_a_prepared_old_image_changes_no_byte(name: str, effort: str) -> None:
    golden = Path(__file__).parents[1] / "spec" / "golden"
    old, new = ((golden / f"{name}.{side}").read_bytes() for side in ("old", "new"))
    prepared = images.prepare(old)
    for other in (new, old, new[: len(new) // 2] + old, b"", new):
        plainly = images.diff_bytes(old, other, effort=effort)
        assert images.diff_bytes(old, other, effort=effort, prepared=prepared) == plainly


def test_one_prepared_for_other_bytes_is_not_used() -> None:
    golden = Path(__file__).parents[1] / "spec" / "golden"
    old, new = ((golden / f"x86-64.{side}").read_bytes() for side in ("old", "new"))
    assert images.diff_bytes(old, new, prepared=images.prepare(new)) == images.diff_bytes(old, new)
