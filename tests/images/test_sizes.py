"""What a delta costs at least, and at most: fixed costs, a build id, an image read in part, plain bytes."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native.images import SEEDS
from spec.make_golden import GOLDEN
from support.made_images import AARCH64, ALLOC, CODE, PROGBITS, Piece, elf
from support.made_macho import universal
from support.old_images import build_library, library_source

from deltaseal import _core, images
from deltaseal.images.container import write_modelled, write_streams

EFFORTS = ["fast", "default", "best"]
FIXED = 160  # bytes: header, digests, table of streams
BUILD_ID = 250  # bytes of a whole delta of an image that differs in nothing else


def applied(old: bytes, delta: bytes) -> bytes:
    pieces: list[bytes] = []
    images.apply(old, delta, lambda piece: pieces.append(bytes(piece)))
    return b"".join(pieces)


def plain_size(old: bytes, new: bytes, effort: str) -> int:
    """Bytes of the delta that looks at both as plain bytes."""
    known = {"old_size": len(old), "new_size": len(new), "digests": (bytes(16), bytes(16)), "plain": True}
    creation = _core.create(old, new, memory_bytes=1 << 30, plain=True, modelled=effort == "best")
    if effort == "best":
        return len(write_modelled(creation.modelled(), **known))
    streams = [creation.stream(number) for number in range(_core.STREAM_COUNT)]
    return len(write_streams(streams, threads=1, **known))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sizes")


def built(folder: Path, name: str, *options: str, functions: int = 60, changed: int = 0) -> bytes:
    return build_library(library_source(functions, changed=changed), folder / name, *options).read_bytes()


# At least


@pytest.mark.parametrize("effort", EFFORTS)
def test_the_fixed_cost_of_a_delta(folder: Path, effort: str) -> None:
    old, new = built(folder, "old"), built(folder, "new", changed=2)
    header = images.inspect(images.diff_bytes(old, new, effort=effort)).header
    assert header.digests is not None
    assert header.header_size < FIXED


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("functions", [6, 300])
def test_an_image_that_differs_in_its_build_id(folder: Path, functions: int, effort: str) -> None:
    old, new = (
        built(folder, f"id{byte}", f"-Wl,--build-id=0x{byte * 20}", functions=functions)
        for byte in ("a7", "3c")
    )
    assert old != new
    delta = images.diff_bytes(old, new, effort=effort)
    assert applied(old, delta) == new
    assert len(delta) < BUILD_ID


@pytest.mark.parametrize("effort", EFFORTS)
def test_a_real_build_id(folder: Path, effort: str) -> None:
    """Twenty bytes that say nothing of each other, as a linker makes them."""
    old = built(folder, "made", "-Wl,--build-id=sha1", functions=200)
    at = old.index(b"GNU\0") + 4
    new = old[:at] + random.Random(5).randbytes(20) + old[at + 20 :]
    assert len(images.diff_bytes(old, new, effort=effort)) < BUILD_ID


# In part


def test_an_image_that_is_read_in_part(folder: Path) -> None:
    """Without its section headers an image has segments and code still; only the rest is plain bytes."""

    def without_sections(image: bytes) -> bytes:
        bare = bytearray(image)
        struct.pack_into("<Q", bare, 40, len(image) * 2)  # e_shoff, behind the end
        return bytes(bare)

    old, new = built(folder, "part-old"), built(folder, "part-new", changed=2)
    whole, part = (
        len(images.diff_bytes(old, new)),
        images.diff_bytes(without_sections(old), without_sections(new)),
    )
    assert applied(without_sections(old), part) == without_sections(new)
    assert not images.inspect(part).header.plain
    assert whole <= len(part) < 0.8 * plain_size(old, new, "default")


def test_a_universal_file_of_which_one_slice_is_damaged() -> None:
    """The slice that can be read is read; the other one is plain bytes."""
    good = [(GOLDEN / f"mach-o.{name}").read_bytes() for name in ("old", "new")]
    other = (SEEDS / "chained.dylib").read_bytes()
    broken = other[:16] + b"\xff" * 16 + other[32:]
    old, new = (universal([one, broken], wide=False) for one in good)
    delta = images.diff_bytes(old, new)
    assert applied(old, delta) == new
    assert not images.inspect(delta).header.plain
    assert len(delta) < 0.8 * plain_size(old, new, "default")
    assert len(delta) < len(images.diff_bytes(*good)) + 60


def test_an_image_with_garbage_behind_it(folder: Path) -> None:
    old, new = built(folder, "tail-old"), built(folder, "tail-new", changed=2)
    garbage = random.Random(6).randbytes(20_000)
    alone, with_it = images.diff_bytes(old, new), images.diff_bytes(old + garbage, new + garbage)
    assert applied(old + garbage, with_it) == new + garbage
    assert len(with_it) < len(alone) + 40


# At most


SMALL = sorted(
    path for path in SEEDS.iterdir() if path.suffix in (".so", ".dylib") and path.stat().st_size < 20_000
)
SLACK = 24  # bytes: regions and their differences, where an image is read and gains nothing by it


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("old", SMALL, ids=lambda path: path.name)
def test_never_larger_than_plain_bytes(old: Path, effort: str) -> None:
    data = old.read_bytes()
    for new in (data, data[:700] + bytes(40) + data[700:], data[::-1], random.Random(7).randbytes(3000), b""):
        assert len(images.diff_bytes(data, new, effort=effort)) <= plain_size(data, new, effort) + SLACK


@settings(deadline=None, max_examples=40)
@given(
    old=st.sampled_from(SMALL),
    new=st.sampled_from(SMALL),
    cut=st.integers(0, 20_000),
    moved=st.integers(0, 20_000),
    effort=st.sampled_from(["default", "best"]),
)
def test_no_mutated_image_is_larger_than_plain_bytes(
    old: Path, new: Path, cut: int, moved: int, effort: str
) -> None:
    """Bytes moved without being adjusted are the case in which prediction hurts."""
    data, other = old.read_bytes(), new.read_bytes()
    mixed = other[:cut] + data[moved : moved + 5000] + other[cut:]
    assert (
        len(images.diff_bytes(data, mixed, effort=effort)) <= plain_size(data, mixed, effort) * 1.02 + SLACK
    )


# The same for any threads


def test_one_two_and_five_threads_make_the_same(folder: Path) -> None:
    """Over 4 MB, so that the work is cut: a real image, and much behind it that resembles what was."""
    draw = random.Random(8)
    tail = b"".join(draw.choice([draw.randbytes(64), b"the same words again " * 3]) for _ in range(70_000))
    old = built(folder, "many-old", functions=300) + tail
    new = built(folder, "many-new", functions=300, changed=5) + tail[: 1 << 21] + bytes(500) + tail[1 << 21 :]
    assert len(new) > 4 << 20
    for effort in ("fast", "default", "best"):
        made = {images.diff_bytes(old, new, effort=effort, threads=threads) for threads in (1, 2, 5)}
        assert len(made) == 1


# What stays, and what moves together


def with_constants(*, inserted: int) -> bytes:
    """AArch64 code that calls itself all over, and constants behind it that look like branches into it."""
    draw, starts = random.Random(3), [i + inserted * (i // 100 + 1) for i in range(4000)]
    words = [0xD503201F] * (starts[-1] + 1)
    for i, at in enumerate(starts):
        call = 0x94000000 | starts[draw.randrange(4000)] - at & 0x3FFFFFF
        words[at] = call if i % 2 else 0x91000000 | draw.getrandbits(12) << 10 | i % 29 << 5 | i % 31
    for i in range(1500):
        words += [
            0x54000000 | (draw.randrange(4000) - 4000 & 0x7FFFF) << 5 | i % 15,
            *[draw.getrandbits(24)] * 3,
        ]
    code = b"".join(struct.pack("<I", word) for word in words)
    behind = 0x200 + len(code) + 7 & ~7
    data = Piece(PROGBITS, ALLOC, 0x10000 + behind, behind, b"data" * 16)
    return elf(AARCH64, [Piece(PROGBITS, CODE, 0x10200, 0x200, code), data], functions=[0x10200])


@pytest.mark.parametrize("effort", EFFORTS)
def test_constants_among_code_stay(effort: str) -> None:
    """Each would be predicted to lead less far, by as much as was inserted between it and where it leads."""
    old, new = with_constants(inserted=0), with_constants(inserted=7)
    delta = images.diff_bytes(old, new, effort=effort)
    assert applied(old, delta) == new
    assert len(delta) < 600


def with_frames(seed: int) -> bytes:
    """AArch64 functions whose loads and stores count from a frame of some size, in units of 1 to 16 bytes."""
    draw, sizes, words = random.Random(4), random.Random(seed), []
    forms = [0x39000000, 0x79000000, 0xB9000000, 0xF9000000, 0x3D800000]
    for _ in range(60):
        frame = 16 * sizes.randrange(20)
        for _ in range(30):
            scale = draw.randrange(5)
            place = 16 * draw.randrange(8) + frame >> scale
            words += [
                forms[scale] | place << 10 | 31 << 5 | draw.randrange(29),
                0x8B000000 | draw.getrandbits(15),
            ]
        words.append(0xD65F03C0)
    code = b"".join(struct.pack("<I", word) for word in words)
    starts = [0x10200 + 61 * 4 * i for i in range(60)]
    return elf(AARCH64, [Piece(PROGBITS, CODE, 0x10200, 0x200, code)], functions=starts)


def test_places_in_a_frame_move_alike() -> None:
    old, new = with_frames(0), with_frames(1)
    delta = images.diff_bytes(old, new, effort="best")
    assert applied(old, delta) == new
    assert len(delta) < 500
