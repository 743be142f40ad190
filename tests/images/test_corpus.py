"""Every public pair, there and back, and across formats (run with -m corpus)."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from native.images import CORPUS

from deltaseal import images
from deltaseal.lab.bench.corpus import PUBLIC, load_pairs

LARGE = 24 << 20  # bytes: above, with effort fast, since it is the way there and back that is tried

PAIRS = {pair.name: pair for pair in load_pairs(PUBLIC, CORPUS) if pair.kind != "tree"}


def comes_back(old: Path, new: Path, effort: str) -> None:
    limits = images.Limits(seconds=3600)
    delta, digest = images.diff(old, new, effort=effort), hashlib.sha256()
    applied = images.apply(old, delta, lambda piece: digest.update(piece), limits=limits)
    assert applied.sha256 == hashlib.sha256(new.read_bytes()).digest() == digest.digest()


@pytest.mark.corpus
@pytest.mark.parametrize("back", [False, True], ids=["there", "back"])
@pytest.mark.parametrize("name", PAIRS)
def test_every_pair_in_both_directions(name: str, back: bool) -> None:
    old, new = PAIRS[name].old, PAIRS[name].new
    if not old.exists():
        pytest.skip("its packages are nowhere to be had any more")
    effort = "fast" if PAIRS[name].new_bytes > LARGE else "default"
    comes_back(*((new, old) if back else (old, new)), effort)


ACROSS = [
    ("libxml2", "rollup"),
    ("rollup", "libxml2"),
    ("curl", "curl-arm64"),
    ("lxml", "libssl"),
    ("expat", "qtcore"),
]


@pytest.mark.corpus
@pytest.mark.parametrize("effort", ["default", "best"])
@pytest.mark.parametrize(("old", "new"), ACROSS)
def test_across_formats(old: str, new: str, effort: str) -> None:
    comes_back(PAIRS[old].old, PAIRS[new].new, effort)


@pytest.mark.corpus
@pytest.mark.parametrize("effort", ["default", "best"])
@pytest.mark.parametrize("name", ["libssl", "curl-arm64", "rollup"])
def test_to_garbage_and_back(tmp_path: Path, name: str, effort: str) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(random.Random(9).randbytes(300_000))
    comes_back(PAIRS[name].old, garbage, effort)
    comes_back(garbage, PAIRS[name].old, effort)
