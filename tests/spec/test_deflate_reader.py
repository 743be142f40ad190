"""The second reader of embedded deflate against the C core and against zlib."""

from __future__ import annotations

import subprocess
import zlib
from pathlib import Path

import pytest
from native.images import ROOT, driver
from spec.deflate_reader import DeflateError, recipe_of, stream_of, take_apart

SEEDS = ROOT / "native/fuzz/seeds/deflate"
STREAMS = [
    path
    for path in sorted(SEEDS.iterdir())
    if "." not in path.name and not path.name.startswith(("bad", "make"))
]
PAGE = (ROOT / "docs/spec/deflate.md").read_text()


def tried(path: Path, window: int) -> tuple[int, bytes]:
    """The style that the core finds, and its recipe."""
    command = [str(driver("try_deflate")), str(window), str(path)]
    words = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
    assert words[-1] == "same"
    level, memory, window, filtered = map(int, words[:4])
    style = level - 1 + 9 * (memory - 1) + 81 * (window - 9) + 567 * filtered
    return style, b"" if words[5] == "-" else bytes.fromhex(words[5])


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.name)
def test_recipes_and_streams_agree_with_the_core(path: Path) -> None:
    data = path.read_bytes()
    style, recipe = tried(path, 9 if "window-9" in path.name else 15)
    stream = take_apart(data)
    assert stream.size == len(data)
    assert stream.content == zlib.decompress(data, -15)
    assert recipe_of(stream, style) == recipe
    assert stream_of(stream.content, recipe, style) == data
    # Any style does; the recipe only grows.
    assert stream_of(stream.content, recipe_of(stream, 492), 492) == data


@pytest.mark.parametrize("name", ["bad-type", "bad-cut", "bad-far", "bad-lengths"])
def test_what_is_no_stream_is_refused(name: str) -> None:
    with pytest.raises(DeflateError):
        take_apart((SEEDS / name).read_bytes())


@pytest.mark.parametrize(
    ("recipe", "stream"),
    [
        ("", "4B 4C 4A 4E 04 23 00"),
        ("03 00 03 09", "01 09 00 F6 FF 61 62 63 61 62 63 61 62 63"),
        ("00 03 03 03", "4B 4C 4A 06 A3 64 00"),
    ],
)
def test_the_example_of_the_page(recipe: str, stream: str) -> None:
    assert recipe in PAGE and stream[:14] in PAGE
    made = stream_of(b"abcabcabc", bytes.fromhex(recipe), 5 + 9 * 7 + 81 * 6)
    assert made.hex(" ").upper() == stream
    assert zlib.decompress(made, -15) == b"abcabcabc"


@pytest.mark.parametrize(
    "recipe",
    [
        *("00 03 07 03", "00 03 03 04", "00 03 03 00", "00 03 03", "00 09 00", "05 00"),
        *("02 00 80", "02 00 02", "03 00 03 0A", "02 00 08", "04 00 0E 05 E0", "03 01 01 04", "80 00"),
    ],
)
def test_bad_recipes_are_refused(recipe: str) -> None:
    with pytest.raises(DeflateError):
        stream_of(b"abcabcabc", bytes.fromhex(recipe), 5 + 9 * 7 + 81 * 6)
