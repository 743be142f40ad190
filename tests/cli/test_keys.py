"""``keys``: generate, public, trust."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command import TODAY, deltaseal, must, snapshot

from deltaseal.cli import keys
from deltaseal.trust import ALGORITHMS, Trust


def test_the_algorithms_are_those_of_trust() -> None:
    assert keys._ALGORITHMS == ALGORITHMS


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_is_readable_by_its_owner_only(here: Path, algorithm: str) -> None:
    made = must("keys", "generate", "--algorithm", algorithm, "-o", "k.pem")
    assert Path("k.pem").stat().st_mode & 0o777 == 0o600
    fingerprint = must("inspect", "k.pem", "--json").json["fingerprint"]
    assert (made.out, made.err) == ("", f"k.pem: {algorithm} key {fingerprint}\n")


def test_a_key_is_never_replaced(here: Path) -> None:
    before = snapshot(here)
    ran = deltaseal("keys", "generate", "--algorithm", "ed25519", "-o", "release.ed25519.pem")
    assert ran.code == 2
    assert "a key file is never replaced" in ran.err
    assert snapshot(here) == before


def test_public_prints_what_it_writes(here: Path) -> None:
    printed = must("keys", "public", "release.ed25519.pem")
    assert printed.out == Path("release.ed25519.pub").read_text()
    assert printed.err == ""


def test_a_passphrase_protects_the_key(here: Path) -> None:
    Path("right").write_text("open sesame\n")
    Path("wrong").write_text("close sesame\n")
    must("keys", "generate", "--algorithm", "ed25519", "-o", "k.pem", "--passphrase-file", "right")
    assert "ENCRYPTED" in Path("k.pem").read_text()
    assert must("inspect", "k.pem", "--json").json == {"format": 1, "kind": "private key", "protected": True}
    must("keys", "public", "k.pem", "--passphrase-file", "right")
    assert deltaseal("keys", "public", "k.pem", "--passphrase-file", "wrong").code == 2
    without = deltaseal("keys", "public", "k.pem")
    assert (without.code, without.out) == (2, "")
    assert "hint: give it with --passphrase-file" in without.err


def test_a_key_that_others_may_read_is_refused(here: Path) -> None:
    Path("release.ed25519.pem").chmod(0o644)
    ran = deltaseal("keys", "public", "release.ed25519.pem")
    assert ran.code == 2
    assert "chmod 600" in ran.err


def _trust(*more: str) -> list[str]:
    members = []
    for algorithm in ALGORITHMS:
        for name in ("release", "online"):
            members += ["--role", "release:macos", f"{name}.{algorithm}.pub"]
    return ["keys", "trust", *members, "-o", "t.json", *more]


def test_by_default_every_key_of_a_role_must_sign(here: Path) -> None:
    must(*_trust())
    role = Trust.load(Path("t.json").read_bytes()).roles["release:macos"]
    assert dict(role.thresholds) == {"ed25519": 2, "ml-dsa-65": 2}


def test_needed_and_expiry_are_as_asked(here: Path) -> None:
    must(*_trust("--needed", "release:macos", "1", "--expires", "2027-01-01", "--epoch", "3"))
    trust = Trust.load(Path("t.json").read_bytes())
    assert dict(trust.roles["release:macos"].thresholds) == {"ed25519": 1, "ml-dsa-65": 1}
    assert (trust.expires, trust.epoch) == (1_798_761_600, 3)
    must(*_trust("--force"))
    assert Trust.load(Path("t.json").read_bytes()).expires == TODAY + 365 * 86_400


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["--needed", "release:macos", "3"], 15),
        (["--needed", "release:ios", "1"], 2),
        (["--needed", "release:macos", "0"], 2),
        (["--expires", "tomorrow"], 2),
        (["--expires", "2026-02-30"], 2),
        (["--epoch", "-1"], 2),
    ],
)
def test_a_rule_that_cannot_be(here: Path, more: list[str], code: int) -> None:
    ran = deltaseal(*_trust(*more))
    assert ran.code == code
    assert ran.err.count("\n") == 1
    assert not Path("t.json").exists()


def test_a_role_of_one_algorithm_is_refused(here: Path) -> None:
    ran = deltaseal("keys", "trust", "--role", "personaliser", "online.ed25519.pub", "-o", "t.json")
    assert ran.code == 2
    assert "ml-dsa-65" in ran.err
