"""The second decoder of modelled deltas (effort best) and ours say the same; what the page says of itself."""

from __future__ import annotations

import hashlib
import random
import re
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from native.images import CORPUS, SEEDS
from spec import image_reader, model_reader, model_reader_coder, stream_reader
from spec.delta_reader import KINDS, Refused
from spec.make_golden import GOLDEN, PAIRS
from spec.model_reader_coder import RATE, STRETCH, Counter, H, Model, m, spread, squash
from spec.model_reader_layout import read_header
from support.image_delta import number
from support.old_images import build_library, library_source, old_image

from deltaseal import images
from deltaseal._core.explaining import explain
from deltaseal.errors import DeltasealError

PAGE = (Path(__file__).parents[2] / "docs/spec/delta-model.md").read_text()
WORDS = b"The quick brown fox jumps over the lazy dog. " * 12


def best(old: bytes, new: bytes) -> bytes:
    return images.diff_bytes(old, new, effort="best", digests=False)


def second(old: bytes, delta: bytes) -> bytes:
    return model_reader.decode(old, delta, image_reader.parse(old))


def ours(old: bytes, delta: bytes) -> bytes:
    pieces: list[bytes] = []
    limits = images.Limits(output_bytes=1 << 20, memory_bytes=1 << 27, seconds=5)
    images.apply(old, delta, lambda piece: pieces.append(bytes(piece)), limits=limits)
    return b"".join(pieces)


# What the page says of itself


def test_hashes_of_the_page() -> None:
    assert (m(0, 0), m(1, 2), m(0xFFFFFFFF, 1)) == (0xCA50FA65, 0x481EEA10, 0x31F5DC96)
    assert (H(b""), H(b"\0"), H(b"\x48\x8b\x05")) == (0, 0x3C6E8BBF, 0x38C0F5BF)
    assert (spread(1, 0x500), spread(0x12345678, 0x1203)) == (0x1E53E435, 0xCC57BA0B)


def test_tables_of_the_page() -> None:
    section = PAGE[PAGE.index("## Tables of numbers") : PAGE.index("## Counters")]
    lines = [
        [cell.strip().replace("−", "-") for cell in line[1:-1].split("|")]
        for line in re.findall(r"^\|.*\|$", section, flags=re.MULTILINE)[2:]
    ]
    columns = [[(int(row[at]), int(row[at + 1])) for row in lines if row[at]] for at in range(0, 10, 2)]
    assert [squash(x) for x, _ in columns[0] + columns[1]] == [p for _, p in columns[0] + columns[1]]
    assert [STRETCH[p] for p, _ in columns[2] + columns[3]] == [x for _, x in columns[2] + columns[3]]
    assert [RATE[n] for n, _ in columns[4]] == [rate for _, rate in columns[4]]
    assert sum(squash(x) * (x + 3072) for x in range(-3071, 3072)) == 920442754856
    assert sum(STRETCH[p] * (p + 1) for p in range(65536)) == 550709257694


def test_a_counter_of_the_page() -> None:
    counter, seen = Counter(), []
    for bit in (1, 0, 1):
        counter.learn(bit)
        seen.append((counter.q, counter.h))
    assert seen == [(231895, 3), (131074, 6), (170791, 13)]


def test_the_example_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    text = re.search(r"^```\n(D5 64.*?)```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert text is not None
    delta, asked, bit = bytes.fromhex(text[1]), [], model_reader_coder.RangeDecoder.bit

    def listening(decoder: model_reader_coder.RangeDecoder, p: int) -> int:
        asked.append(p)
        return bit(decoder, p)

    monkeypatch.setattr(model_reader_coder.RangeDecoder, "bit", listening)
    assert second(b"hello", delta) == b"hello, world" == ours(b"hello", delta)
    table = PAGE[PAGE.index("| decision | bits | p |") :]
    rows = re.findall(r"^\| .* \| [01, ]+ \| ([\d ,]+|32768, eight times) \|$", table, flags=re.MULTILINE)
    told = [[32768] * 8 if "eight" in row else [int(p) for p in re.findall(r"\d+", row)] for row in rows]
    first = [p for row in told[:-1] for p in row]
    assert len(told) == 8 and asked[: len(first)] == first and asked[-8:] == told[-1] and len(asked) == 116


def test_kinds_have_the_numbers_of_the_page() -> None:
    assert list(KINDS).index("ULEB_SIZE1") + 1 == 20 and list(KINDS).index("STEP_ULEB1") + 1 == 48


# Pairs


@pytest.mark.parametrize("name", PAIRS)
def test_a_golden_delta_still_applies(name: str) -> None:
    old, new, delta = ((GOLDEN / f"{name}.{what}").read_bytes() for what in ("old", "new", "best"))
    assert ours(old, delta) == new == second(old, delta)


@pytest.mark.parametrize("name", PAIRS)
def test_the_creator_still_makes_the_golden_delta(name: str) -> None:
    """Where this fails, the decisions or the format changed: look at why, then `./dev golden`."""
    old, new, delta = ((GOLDEN / f"{name}.{what}").read_bytes() for what in ("old", "new", "best"))
    assert images.diff_bytes(old, new, effort="best") == delta
    assert second(new, best(new, old)) == old


PLAIN_PAIRS = {
    "equal": (WORDS, WORDS),
    "empty-old": (b"", WORDS[:100]),
    "empty-new": (WORDS, b""),
    "both-empty": (b"", b""),
    "moved": (WORDS, WORDS[300:] + b"new words" + WORDS[:200]),
    "changed": (WORDS, WORDS.replace(b"fox", b"cat")),
    "other-bytes": (WORDS, hashlib.shake_256(b"seed").digest(600)),
    "many-blocks": (WORDS, b"".join(bytes([n]) + WORDS[n : n + 45] for n in range(60))),
}


EVEN = random.Random(8).randbytes(40_000)  # two runs, and a part of one
TEXT = "".join(random.Random(9).choices("abcdefgh \n", k=40_000)).encode()


def plain_runs(old: bytes, delta: bytes, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The flags of runs, as the second reader reads them."""
    flags, flag = [], Model.flag

    def listening(model: Model, name: str, contexts: Sequence[int], select: int = 0) -> int:
        read = flag(model, name, contexts, select)
        if name == "plain run":
            flags.append(read)
        return read

    monkeypatch.setattr(Model, "flag", listening)
    second(old, delta)
    return flags


@pytest.mark.parametrize(
    ("new", "flags"),
    [
        (EVEN, [1, 1]),
        (TEXT, [0, 0]),
        (EVEN[:1_024], [1]),
        (EVEN[:1_023], []),
        (EVEN[:32_768] + TEXT, [1, 0, 0]),
        (b"".join(bytes([byte, 0]) for byte in EVEN[:5_000]), [0]),  # even bytes at even places alone
    ],
)
def test_plain_runs(new: bytes, flags: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    old = b"something else"
    delta = best(old, new)
    assert second(old, delta) == new == ours(old, delta)
    assert plain_runs(old, delta, monkeypatch) == flags
    if all(flags):
        assert len(delta) < len(new) + 64


@pytest.mark.parametrize("name", PLAIN_PAIRS)
def test_plain_bytes(name: str) -> None:
    old, new = PLAIN_PAIRS[name]
    delta = best(old, new)
    assert second(old, delta) == new == ours(old, delta)


@settings(deadline=None, max_examples=40)
@given(
    old=st.binary(max_size=200),
    cuts=st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=20)), max_size=6),
)
def test_edits_of_any_bytes(old: bytes, cuts: list[tuple[int, bytes]]) -> None:
    new = b"".join(old[at : at + 50] + more for at, more in cuts)
    assert second(old, best(old, new)) == new


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("libraries")
    made = {"small": (6, 0), "small-next": (6, 1), "large": (40, 0), "large-next": (40, 2)}
    return {
        name: build_library(library_source(functions, changed=changed), folder / name)
        for name, (functions, changed) in made.items()
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [("small", "small-next"), ("large", "large-next"), ("large-next", "large"), ("large", "small")],
)
def test_real_images(libraries: dict[str, Path], old: str, new: str) -> None:
    old_bytes, new_bytes = libraries[old].read_bytes(), libraries[new].read_bytes()
    delta = best(old_bytes, new_bytes)
    assert not read_header(delta).plain
    assert second(old_bytes, delta) == new_bytes


def throwing_library(output: Path, changed: int) -> bytes:
    """With pointers of eight bytes to exception tables, as LLVM writes them for AArch64."""
    text = ["struct Guard { ~Guard(); }; extern int risky(int);"]
    for n in range(40):
        more = f"x += risky({n} * x); " * (n % 3 + (n % 7 == 0) * changed)
        text.append(
            f"int f{n}(int x) {{ Guard guard; {more}try {{ return risky(x + {n}); }}"
            f" catch (int e) {{ return e + {n}; }} }}"
        )
    compile_it = ["gcc", "-S", "-O2", "-fPIC", "-xc++", "-o", "-", "-"]
    lines = subprocess.run(compile_it, check=True, capture_output=True, input="\n".join(text), text=True)
    wide = lines.stdout.replace(".cfi_personality 0x9b", ".cfi_personality 0x9c")
    wide = wide.replace(".cfi_lsda 0x1b", ".cfi_lsda 0x1c")
    assert wide.count(".cfi_lsda 0x1c") >= 40
    link = ["gcc", "-shared", "-s", "-nostdlib", "-xassembler", "-o", str(output), "-"]
    subprocess.run(link, check=True, input=wide, text=True)
    return output.read_bytes()


def test_wide_pointers_of_unwind_tables(tmp_path: Path) -> None:
    old, new = (throwing_library(tmp_path / str(changed), changed) for changed in (0, 2))
    image = old_image(tmp_path / "0")
    assert stream_reader.decode(old, images.diff_bytes(old, new), image) == new
    delta = best(old, new)
    assert second(old, delta) == new
    explained = explain(old, delta, [0], output_bytes=len(new), memory_bytes=1 << 30)
    column = explained.kinds.index("frame right")
    assert sum(explained.costs[column :: len(explained.kinds)]) > 0  # else they were copied as bytes


@pytest.mark.parametrize("old", ["lazy.so", "arm64.so", "throws.so", "universal.dylib"])
def test_an_image_of_another_format(old: str) -> None:
    """Code of one machine where the old image has another's, or of both in one universal file."""
    old_bytes, new = (SEEDS / old).read_bytes(), (SEEDS / "classic.dylib").read_bytes()
    new = new[:9000]
    assert second(old_bytes, best(old_bytes, new)) == new


def test_a_universal_file_whose_slices_change() -> None:
    """Both of one image's machines have words and bytes that differ, and new code."""
    old = (SEEDS / "universal.dylib").read_bytes()
    image, new = image_reader.parse(old), bytearray(old)
    for region_number, region in enumerate(image.regions):
        if region.kind == 1:
            step = 4 if region_number in image.of_words else 3
            for at in range(region.offset + 8, region.offset + region.size - 8, 10 * step):
                new[at] = new[at] + 1 & 255
            middle = region.offset + region.size // 2 & ~3
            new[middle : middle + 24] = hashlib.shake_256(bytes([region_number])).digest(24)
    delta = best(old, bytes(new))
    assert second(old, delta) == new == ours(old, delta)


@pytest.mark.parametrize("strategy", [zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED, zlib.Z_HUFFMAN_ONLY])
def test_compressed_streams(libraries: dict[str, Path], strategy: int) -> None:
    """Behind an image, so that the tail's bytes and the image's are of different kinds."""

    def packed(text: bytes, how: int) -> bytes:
        encoder = zlib.compressobj(9, zlib.DEFLATED, 15, 8, how)
        return encoder.compress(text) + encoder.flush()

    text = library_source(12).encode()
    edited = text.replace(b"zeroed", b"cleared", 9)
    old = libraries["small"].read_bytes() + packed(text, zlib.Z_DEFAULT_STRATEGY) + b"end"
    new = libraries["small-next"].read_bytes() + packed(edited, strategy) + b"the end"
    delta = best(old, new)
    assert len(delta) < len(packed(edited, strategy)) / 2
    assert second(old, delta) == new == ours(old, delta)


# Refusals

GOOD = best(WORDS, WORDS[300:400] + b"new words" + WORDS[:50])
HEAD = read_header(GOOD).size


def refusal(old: bytes, delta: bytes) -> tuple[str | None, str | None]:
    """The code of the second reader and of ours."""
    codes: list[str | None] = [None, None]
    try:
        second(old, delta)
    except Refused as refused:
        codes[0] = refused.reason
    try:
        ours(old, delta)
    except DeltasealError as error:
        codes[1] = error.reason
    return codes[0], codes[1]


def with_table(delta: bytes, table: int) -> bytes:
    return delta[: HEAD - 1] + bytes([table]) + delta[HEAD:]


REFUSED = {
    "another revision": (GOOD[:4] + b"\x63" + GOOD[5:], "E_DELTA"),
    "flags that exclude each other": (GOOD[:5] + bytes([GOOD[5] | 4]) + GOOD[6:], "E_DELTA"),
    "cut": (GOOD[:-1], "E_DELTA"),
    "no table": (with_table(GOOD, 0), "E_DELTA"),
    "a table too large": (with_table(GOOD, 193), "E_LIMIT"),
    "bytes left": (GOOD[:6] + number(len(GOOD) + 5) + GOOD[7:] + b"12345", "E_DELTA"),
    "another old file": (GOOD[:7] + number(len(WORDS) - 1) + GOOD[9:], "E_BASE"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_both_refuse(name: str) -> None:
    delta, reason = REFUSED[name]
    assert refusal(WORDS, delta) == (reason, reason)


@settings(deadline=None, max_examples=60)
@given(at=st.integers(HEAD, len(GOOD) - 1), new=st.integers(0, 255))
def test_a_changed_delta_is_the_same_to_both(at: int, new: int) -> None:
    """Without digests: both refuse it for one reason, or both make the same bytes of it."""
    changed = GOOD[:at] + bytes([new]) + GOOD[at + 1 :]
    theirs, mine = refusal(WORDS, changed)
    assert theirs == mine
    if theirs is None:
        assert second(WORDS, changed) == ours(WORDS, changed)


# Real pairs


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["libpng", "libarchive", "lxml-arm64", "wheel-lxml"])
def test_real_pairs(name: str) -> None:
    old, new = (CORPUS / name / "old").read_bytes(), (CORPUS / name / "new").read_bytes()
    assert second(old, best(old, new)) == new
