"""``diff`` and ``apply``: what they print, what they leave, and how they refuse."""

from __future__ import annotations

import errno
import hashlib
import os
import random
from pathlib import Path

import pytest
from support.command import as_nobody, deltaseal, must, snapshot


def test_a_delta_of_images_gives_the_new_one_back(here: Path) -> None:
    made = must("diff", "old", "new", "-o", "d")
    size = Path("d").stat().st_size
    assert made.out == ""
    share = f"{100 * size / 20_004:.2g} %"
    assert made.err == f"d: {size:,} bytes, {share} of the new image's 20,004; applied and compared\n"
    applied = must("apply", "old", "d", "-o", "n")
    digest = hashlib.sha256(Path("new").read_bytes()).hexdigest()
    assert (applied.out, applied.err) == ("", f"n: 20,004 bytes, SHA-256 {digest}\n")
    assert Path("n").read_bytes() == Path("new").read_bytes()


def test_a_delta_of_directories_gives_the_new_one_back(here: Path) -> None:
    must("diff", "tree", "tree-fixed", "-o", "d")
    applied = must("apply", "tree", "d", "-o", "n", "--json")
    assert snapshot(Path("n")) == snapshot(Path("tree-fixed"))
    digest = must("inspect", "tree-fixed", "--json").json["digest"]
    assert applied.json == {"format": 1, "kind": "tree", "size": 20_007, "digest": digest}
    assert applied.err == ""


def test_the_new_image_gets_the_old_ones_permissions(here: Path) -> None:
    Path("old").chmod(0o751)
    must("apply", "old", "image.delta", "-o", "n")
    assert Path("n").stat().st_mode & 0o7777 == 0o751


def test_diff_says_the_same_as_json(here: Path) -> None:
    made = must("diff", "old", "new", "-o", "d", "--json").json
    sides = [hashlib.sha256(Path(name).read_bytes()).hexdigest()[:32] for name in ("old", "new")]
    assert made == {
        "format": 1,
        "kind": "image delta",
        "size": Path("d").stat().st_size,
        "old_size": 20_000,
        "new_size": 20_004,
        "old_digest": sides[0],
        "new_digest": sides[1],
    }


@pytest.mark.parametrize("options", [["--effort", "fast"], ["--threads", "2"], ["--max-memory", "1G"]])
def test_each_way_of_making_gives_the_new_image_back(here: Path, options: list[str]) -> None:
    must("diff", "old", "new", "-o", "d", *options)
    must("apply", "old", "d", "-o", "n")
    assert Path("n").read_bytes() == Path("new").read_bytes()


def test_on_a_full_disk_nothing_is_left(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = snapshot(here)
    with monkeypatch.context() as patch:
        patch.setattr("deltaseal.storage.real.os.write", full)
        made = deltaseal("diff", "old", "new", "-o", "d", "--effort", "fast")
        applied = deltaseal("apply", "tree", "tree.delta", "-o", "n")
    assert (made.code, applied.code) == (21, 21)
    assert "No space left on device" in made.err
    assert snapshot(here) == before


def test_threads_change_no_byte(here: Path) -> None:
    must("diff", "old", "new", "-o", "one", "--threads", "1")
    must("diff", "old", "new", "-o", "two", "--threads", "2")
    assert Path("one").read_bytes() == Path("two").read_bytes()


@pytest.mark.parametrize(
    ("old", "new"), [("empty", "new"), ("old", "empty"), ("empty", "empty"), ("old", "old")]
)
def test_empty_and_equal_images_are_images_too(here: Path, old: str, new: str) -> None:
    must("diff", old, new, "-o", "d")
    must("apply", old, "d", "-o", "n")
    assert Path("n").read_bytes() == Path(new).read_bytes()


def test_a_large_image_unlike_the_old_one(here: Path) -> None:
    Path("large").write_bytes(random.Random(3).randbytes(4_400_000))
    must("diff", "old", "large", "-o", "d")
    must("apply", "old", "d", "-o", "n")
    assert Path("n").read_bytes() == Path("large").read_bytes()


def test_equal_images_make_a_tiny_delta(here: Path) -> None:
    assert must("diff", "old", "old", "-o", "d", "--json").json["size"] < 200


def test_too_little_memory_is_said(here: Path) -> None:
    ran = deltaseal("diff", "old", "new", "-o", "d", "--max-memory", "1K")
    assert ran.code == 19
    assert ran.err == (
        "deltaseal: E_LIMIT: making the delta needs more than 1,024 bytes of memory "
        "(hint: allow more with --max-memory)\n"
    )
    assert not Path("d").exists()


def test_the_wrong_old_image_is_told_with_both_digests(here: Path) -> None:
    ran = deltaseal("apply", "other", "image.delta", "-o", "n")
    assert ran.code == 13
    old, other = (hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in ("old", "other"))
    assert old[:32] + "…" in ran.err and other in ran.err
    assert not Path("n").exists()


def test_the_wrong_old_directory_is_told_with_both_digests(here: Path) -> None:
    ran = deltaseal("apply", "tree-fixed", "tree.delta", "-o", "n", "--json")
    assert ran.code == ran.json["error"]["exit_code"] == 13
    for name in ("tree", "tree-fixed"):
        assert must("inspect", name, "--json").json["digest"] in ran.json["error"]["sentence"]


def test_exclude_leaves_a_path_out_of_both_sides(here: Path) -> None:
    (here / "tree" / "app" / "pipe").symlink_to("/dev/null")
    (here / "tree-fixed" / "app" / "pipe").symlink_to("/dev/zero")
    refused = deltaseal("diff", "tree", "tree-fixed", "-o", "d")
    assert refused.code == 17
    assert "app/pipe" in refused.err
    must("diff", "tree", "tree-fixed", "-o", "d", "--exclude", "app/pipe")
    must("apply", "tree", "d", "-o", "n", "--exclude", "app/pipe")
    assert not (here / "n" / "app" / "pipe").is_symlink()


@pytest.mark.parametrize("verb", ["diff", "apply"])
@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("other", "'other' exists already"),
        ("old", "the output 'old' is the input 'old', or lies in it"),
        ("./old", "is the input"),
        ("tree", "'tree' exists and is not a regular file"),
        ("nowhere/d", "cannot open the directory 'nowhere'"),
        ("tree/", "'tree' exists and is not a regular file"),
    ],
)
def test_an_output_that_must_not_be(here: Path, verb: str, output: str, words: str) -> None:
    before = snapshot(here)
    ran = deltaseal(verb, "old", "image.delta" if verb == "apply" else "new", "-o", output)
    assert ran.code in (2, 22)
    assert words in ran.err
    assert snapshot(here) == before


def test_force_replaces_an_output_but_never_an_input(here: Path) -> None:
    must("diff", "old", "new", "-o", "other", "--force")
    assert deltaseal("apply", "old", "other", "-o", "old", "--force").code == 2
    Path("link").symlink_to("old")
    assert deltaseal("apply", "link", "other", "-o", "old", "--force").code == 2
    must("apply", "old", "other", "-o", "new", "--force")


def test_force_replaces_a_directory(here: Path) -> None:
    must("apply", "tree", "tree.delta", "-o", "n")
    (here / "n" / "stray").write_text("x")
    assert deltaseal("apply", "tree", "tree.delta", "-o", "n").code == 2
    must("apply", "tree", "tree.delta", "-o", "n", "--force")
    assert snapshot(Path("n")) == snapshot(Path("tree-fixed"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["diff", "old", "tree"], 2, "'tree' is a directory and 'old' is a file"),
        (["diff", "tree", "new"], 2, "'tree' is a directory and 'new' is a file"),
        (["diff", "old", "nothing"], 2, "'nothing' does not exist"),
        (["diff", "old/x", "new"], 2, "'old/x' does not exist"),
        (["diff", "old", "/dev/null"], 2, "neither a file nor a directory"),
        (["apply", "tree", "image.delta"], 2, "is a delta between files, 'tree' is a directory"),
        (["apply", "old", "tree.delta"], 2, "is a delta between directories, 'old' is a file"),
        (["apply", "old", "tree"], 15, "'tree' is a tree, not a delta"),
        (["apply", "old", "a.bundle"], 15, "'a.bundle' is a bundle, not a delta"),
        (["apply", "old", "empty"], 15, "'empty' is empty"),
        (["apply", "old", "nothing"], 2, "'nothing' does not exist"),
        (["apply", "image.delta", "old"], 15, "not a file of deltaseal"),
    ],
)
def test_a_file_for_a_directory_and_other_mistakes(
    here: Path, arguments: list[str], code: int, words: str
) -> None:
    before = snapshot(here)
    ran = deltaseal(*arguments, "-o", "out")
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
    assert ran.err.count("\n") == 1
    assert snapshot(here) == before


@pytest.mark.parametrize(("old", "delta"), [("old", "image.delta"), ("tree", "tree.delta")])
def test_a_cut_delta_leaves_nothing(here: Path, old: str, delta: str) -> None:
    good = Path(delta).read_bytes()
    for data in [good + b"x", *(good[:at] for at in range(0, len(good), len(good) // 16))]:
        Path("bad.delta").write_bytes(data)
        before = snapshot(here)
        ran = deltaseal("apply", old, "bad.delta", "-o", "n")
        assert ran.code in (15, 18), ran.err
        assert ran.err.startswith("deltaseal: E_")
        assert ran.err.count("\n") == 1
        assert snapshot(here) == before


@pytest.mark.parametrize(
    ("old", "new", "delta"), [("old", "new", "image.delta"), ("tree", "tree-fixed", "tree.delta")]
)
def test_a_flipped_bit_gives_the_new_one_or_nothing(here: Path, old: str, new: str, delta: str) -> None:
    good = Path(delta).read_bytes()
    refused = 0
    for at in range(0, len(good), len(good) // 24):
        Path("bad.delta").write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        before = snapshot(here)
        ran = deltaseal("apply", old, "bad.delta", "-o", f"n{at}")
        if ran.code == 0:  # a bit that no byte depends on, such as one of the version of zstd
            made, wanted = Path(f"n{at}"), Path(new)
            assert snapshot(made) == snapshot(wanted)
            assert made.is_dir() or made.read_bytes() == wanted.read_bytes()
            continue
        refused += 1
        assert ran.code in (13, 15, 16, 17, 18, 19), ran.err
        assert snapshot(here) == before
    assert refused > 12


@pytest.mark.parametrize(
    "arguments", [["diff", "old", "new"], ["apply", "old", "image.delta"], ["diff", "tree", "tree-fixed"]]
)
def test_what_may_not_be_read_or_written(here: Path, arguments: list[str]) -> None:
    first = Path(arguments[1])
    first.chmod(0)
    with as_nobody():
        unreadable = deltaseal(*arguments, "-o", "out")
    first.chmod(0o755)
    assert unreadable.code == 22
    here.chmod(0o555)
    with as_nobody():
        unwritable = deltaseal(*arguments, "-o", "out")
    here.chmod(0o755)
    assert unwritable.code == 22
    assert "Permission denied" in unwritable.err
    assert not Path("out").exists()
