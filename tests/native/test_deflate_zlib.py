"""Our own choice of tokens and code lengths against zlib's, over all that zlib can be told."""

from __future__ import annotations

import random
import subprocess
import zlib
from pathlib import Path

import pytest

from .images import SEEDS, driver

NOISE = random.Random(5).randbytes(40_000)
IMAGE = (SEEDS / "throws.so").read_bytes()
TEXT = b"".join(sorted((SEEDS / "make").read_bytes().split(b"\n")) * 3)
WORDS = b" ".join(random.Random(6).choices(TEXT.split(), k=20_000))
CONTENTS = {
    "image": IMAGE * 3,
    "text": TEXT + (SEEDS / "make").read_bytes(),
    "words": WORDS,
    "noise and image": NOISE + IMAGE + bytes(70_000) + NOISE[:20_000],
    "zeros": bytes(100_000),
    "one": b"a",
    "nothing": b"",
}
STRATEGIES = {"usual": zlib.Z_DEFAULT_STRATEGY, "filtered": zlib.Z_FILTERED}


def tried(tmp_path: Path, streams: list[bytes], *, window: int = 15) -> list[list[str]]:
    paths = [tmp_path / str(i) for i in range(len(streams))]
    for path, stream in zip(paths, streams, strict=True):
        path.write_bytes(stream)
    run = subprocess.run(
        [driver("try_deflate"), str(window), *paths], capture_output=True, check=True, text=True
    )
    return [line.split() for line in run.stdout.splitlines()]


def made(content: bytes, *, level: int, memory: int = 8, window: int = 15, strategy: int = 0) -> bytes:
    encoder = zlib.compressobj(level, zlib.DEFLATED, -window, memory, strategy)
    return encoder.compress(content) + encoder.flush()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("memory", [7, 8, 9])
def test_every_level_is_predicted_exactly(tmp_path: Path, memory: int, strategy: str) -> None:
    streams = [
        made(content, level=level, memory=memory, strategy=STRATEGIES[strategy])
        for content in CONTENTS.values()
        for level in range(1, 10)
    ]
    results = tried(tmp_path, streams)
    assert [line[-1] for line in results] == ["same"] * len(streams)
    recipes = [int(line[-2]) for line in results]
    assert recipes == [0] * len(streams)


@pytest.mark.parametrize("window", range(9, 15))
def test_smaller_windows_are_predicted_exactly(tmp_path: Path, window: int) -> None:
    streams = [made(IMAGE * 3, level=level, window=window) for level in (1, 3, 4, 6, 9)]
    assert [line[2:] for line in tried(tmp_path, streams, window=window)] == [
        [str(window), "0", str(3 * len(IMAGE)), "-", "0", "same"]
    ] * len(streams)


def test_the_level_is_found(tmp_path: Path) -> None:
    streams = [made(WORDS + IMAGE, level=level, memory=9) for level in range(1, 10)]
    assert [line[:2] for line in tried(tmp_path, streams)] == [[str(level), "9"] for level in range(1, 10)]


def test_flushes_cost_little(tmp_path: Path) -> None:
    encoder = zlib.compressobj(6, zlib.DEFLATED, -15)
    stream = b"".join(
        encoder.compress(WORDS[at : at + 20_000]) + encoder.flush(zlib.Z_SYNC_FLUSH)
        for at in range(0, len(WORDS), 20_000)
    )
    [line] = tried(tmp_path, [stream + encoder.flush()])
    assert line[-1] == "same" and int(line[-2]) < 100


@pytest.mark.parametrize("strategy", [zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED])
def test_other_choices_come_back_all_the_same(tmp_path: Path, strategy: int) -> None:
    [line] = tried(tmp_path, [made(WORDS, level=6, strategy=strategy)])
    assert line[-1] == "same" and int(line[-2]) > 0


def test_input_in_small_pieces_changes_nothing(tmp_path: Path) -> None:
    encoder = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = (
        b"".join(encoder.compress(WORDS[at : at + 77]) for at in range(0, len(WORDS), 77)) + encoder.flush()
    )
    assert tried(tmp_path, [stream])[0][-2:] == ["0", "same"]
