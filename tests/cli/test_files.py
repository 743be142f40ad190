"""``inspect`` and ``verify`` on every kind of file."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from support.command import TODAY, deltaseal, must, snapshot

KINDS = {
    "image.delta": "image delta",
    "tree.delta": "tree delta",
    "a.bundle": "bundle",
    "unsigned.bundle": "bundle",
    "macos.base": "base",
    "offers/a.manifest": "device manifest",
    "offers/macos.catalogue": "catalogue",
    "trust.json": "trust",
    "request.json": "request",
    "release.ed25519.pem": "private key",
    "release.ml-dsa-65.pub": "public key",
    "tree": "tree",
}
SIGNED = ("a.bundle", "macos.base", "offers/a.manifest", "offers/macos.catalogue")


@pytest.mark.parametrize(("file", "kind"), KINDS.items())
def test_inspect_tells_the_kind_by_the_beginning(here: Path, file: str, kind: str) -> None:
    shutil.move(file, "moved.bin")
    plain = must("inspect", "moved.bin")
    assert plain.out.splitlines()[0] in (f"moved.bin: {kind}", f"moved.bin: {kind} (not verified)")
    assert plain.err == ""
    values = must("inspect", "moved.bin", "--json").json
    assert (values["format"], values["kind"]) == (1, kind)


def test_inspect_shows_a_delta_of_images(here: Path) -> None:
    shown = must("inspect", "image.delta").out
    for name in ("old", "new"):
        assert hashlib.sha256(Path(name).read_bytes()).hexdigest()[:32] + "…" in shown
    assert f"{Path('image.delta').stat().st_size:,} bytes" in shown
    assert "streams" not in shown


def test_inspect_streams_adds_every_stream(here: Path) -> None:
    names = [stream["name"] for stream in must("inspect", "image.delta", "--json").json["streams"]]
    shown = must("inspect", "image.delta", "--streams").out
    assert len(names) > 3
    assert all(f" {name} " in shown for name in names)


def test_inspect_shows_what_a_tree_delta_changes(here: Path) -> None:
    shown = must("inspect", "tree.delta").out
    assert "changes   2 changed, 0 added, 0 removed" in shown
    assert "changed  app/lib/engine.so  (20,004 bytes by " in shown


def test_inspect_of_a_directory_is_its_digest_and_its_listing_on_demand(here: Path) -> None:
    assert "listing" not in must("inspect", "tree", "--json").json
    listing = must("inspect", "tree", "--json", "--listing").json
    assert (listing["files"], listing["directories"], listing["bytes"]) == (2, 2, 20_003)
    text = "".join(f"{line}\n" for line in listing["listing"])
    assert hashlib.sha256(text.encode()).hexdigest() == listing["digest"]


def test_inspect_never_shows_a_private_key(here: Path) -> None:
    secret = Path("release.ed25519.pem").read_text().splitlines()[1]
    ran = must("inspect", "release.ed25519.pem")
    assert secret not in ran.out
    assert "fingerprint" in ran.out


@pytest.mark.parametrize(
    ("begin", "words"),
    [
        (b"\x7fELF\x02\x01", "an ELF image"),
        (b"\xca\xfe\xba\xbe\0\0\0\x02", "a universal Mach-O image"),
        (b"BSDIFF40", "a patch of bsdiff"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"hello", "of no known kind"),
    ],
)
def test_a_foreign_file_is_named(here: Path, begin: bytes, words: str) -> None:
    Path("foreign").write_bytes(begin + bytes(100))
    for verb in ("inspect", "verify"):
        ran = deltaseal(verb, "foreign")
        assert (ran.code, ran.out) == (15, "")
        assert f"'foreign' is {words}" in ran.err


def test_foreign_json_is_named(here: Path) -> None:
    Path("foreign").write_text('{"name": "value"}')
    ran = deltaseal("inspect", "foreign")
    assert ran.code == 15
    assert "no trust file, request or public key" in ran.err


def test_text_in_a_document_cannot_steer_the_terminal(here: Path) -> None:
    Path("fixes.toml").write_text('[[cves]]\ncve = "CVE-2026-1"\ncomponent = "app"\ntitle = "x\\u202ey"\n')
    assert deltaseal("verify", "a\x1b[31m\nb").err.count("\x1b") == 0
    ran = deltaseal("inspect", "a\x1b[31m\nb")
    assert ran.err == "deltaseal: E_USAGE: 'a\\x1b[31m\\nb' does not exist (hint: check how it is written)\n"


# ---- verify ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", SIGNED)
def test_verify_says_who_signed(here: Path, file: str) -> None:
    values = must("verify", file, "--trust", "trust.json", "--json").json
    assert values["good"] is True
    assert values["role"] == ("personaliser" if "manifest" in file else "release:macos")
    assert sorted(key.split()[0] for key in values["signed_by"]) == ["ed25519", "ml-dsa-65"]
    shown = must("verify", file, "--trust", "trust.json").out
    assert shown.startswith(f"{file}: {KINDS[file]}, signed by {values['role']}: good\n")


@pytest.mark.parametrize("file", SIGNED)
def test_verify_refuses_other_keys(here: Path, file: str) -> None:
    roles = []
    for algorithm in ("ed25519", "ml-dsa-65"):
        must("keys", "generate", "--algorithm", algorithm, "-o", f"stranger.{algorithm}.pem")
        must("keys", "public", f"stranger.{algorithm}.pem", "-o", f"stranger.{algorithm}.pub")
        for role in ("release:macos", "personaliser"):
            roles += ["--role", role, f"stranger.{algorithm}.pub"]
    must("keys", "trust", *roles, "-o", "strangers.json")
    ran = deltaseal("verify", file, "--trust", "strangers.json", "--json")
    assert ran.code == ran.json["error"]["exit_code"] == 10
    assert ran.json["error"]["reason"] == "E_SIG"


def test_verify_refuses_what_is_not_signed(here: Path) -> None:
    assert deltaseal("verify", "unsigned.bundle", "--trust", "trust.json").code == 10


@pytest.mark.parametrize("file", SIGNED)
def test_verify_finds_every_changed_byte(here: Path, file: str) -> None:
    good = Path(file).read_bytes()
    for at in range(0, len(good), len(good) // 40):
        Path("bad").write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        ran = deltaseal("verify", "bad", "--trust", "trust.json")
        assert ran.code in (10, 15, 16, 19), (at, ran.err)


@pytest.mark.parametrize("file", SIGNED)
def test_verify_finds_every_cut(here: Path, file: str) -> None:
    good = Path(file).read_bytes()
    for size in range(0, len(good), len(good) // 16):
        Path("bad").write_bytes(good[:size])
        assert deltaseal("verify", "bad", "--trust", "trust.json").code in (10, 15, 16)
    Path("bad").write_bytes(good + b"x")
    assert deltaseal("verify", "bad", "--trust", "trust.json").code in (10, 16)


def test_verify_after_the_end_is_expired(here: Path) -> None:
    eight_days = TODAY + 8 * 86_400
    ran = deltaseal("verify", "offers/a.manifest", "--trust", "trust.json", now=eight_days)
    assert ran.code == 11
    assert deltaseal("verify", "macos.base", "--trust", "trust.json", now=TODAY + 400 * 86_400).code == 11


def test_verify_proves_a_delta_by_both_sides(here: Path) -> None:
    for old, new, delta in (("old", "new", "image.delta"), ("tree", "tree-fixed", "tree.delta")):
        before = snapshot(here)
        both = must("verify", delta, "--old", old, "--new", new)
        assert both.out.startswith(f"{delta}: {KINDS[delta]}: good\n")
        assert must("verify", delta, "--new", new).out.splitlines()[1] in both.out.splitlines()
        assert snapshot(here) == before


def test_verify_says_when_a_delta_makes_something_else(here: Path) -> None:
    ran = deltaseal("verify", "image.delta", "--new", "other")
    assert ran.code == 16
    assert hashlib.sha256(Path("other").read_bytes()).hexdigest() in ran.err
    assert deltaseal("verify", "image.delta", "--old", "other").code == 13
    assert deltaseal("verify", "tree.delta", "--new", "tree").code == 16
    assert deltaseal("verify", "tree.delta", "--old", "tree-fixed").code == 13


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["image.delta"], 2, "it carries no signature (hint: give --old, --new, or both"),
        (["a.bundle"], 2, "whose signatures count must be said (hint: give a trust file with --trust)"),
        (["a.bundle", "--trust", "trust.json", "--old", "old"], 2, "--old and --new are for deltas"),
        (["trust.json", "--trust", "trust.json"], 15, "there is no signature to verify"),
        (["tree", "--trust", "trust.json"], 15, "there is no signature to verify"),
        (["a.bundle", "--trust", "a.bundle"], 15, ""),
        (["a.bundle", "--trust", "empty"], 15, ""),
        (["a.bundle", "--trust", "nothing"], 2, "does not exist"),
        (["image.delta", "--old", "tree"], 2, "is a delta between files, 'tree' is a directory"),
        (["tree.delta", "--new", "new"], 2, "is a delta between directories, 'new' is a file"),
    ],
)
def test_verify_with_what_does_not_fit(here: Path, arguments: list[str], code: int, words: str) -> None:
    ran = deltaseal("verify", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
    assert ran.err.count("\n") == 1
