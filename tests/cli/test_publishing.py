"""``bundle`` and ``manifest``: what a publisher makes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from support.command import TODAY, deltaseal, must, snapshot

from .conftest import ONLINE, RELEASE, base, build

SCENARIO = Path(__file__).parents[2] / "examples" / "march-2026.toml"


def body(file: str) -> dict[str, object]:
    """What a bundle or document says."""
    found = must("inspect", file, "--json").json["body"]
    assert isinstance(found, dict)
    return found


# ---- bundle ----------------------------------------------------------------------------------------------


def test_the_same_input_gives_the_same_bytes(here: Path) -> None:
    must(*build("again.bundle"))
    assert Path("again.bundle").read_bytes() == Path("unsigned.bundle").read_bytes()


def test_source_date_epoch_dates_a_bundle(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1773705600")
    must(*build("dated.bundle"))
    assert body("dated.bundle")["issued"] == 1_773_705_600
    must(*build("other.bundle", "--issued", "2026-03-18"))
    assert body("other.bundle")["issued"] == 1_773_792_000


def test_signatures_stand_apart(here: Path) -> None:
    digests = {must("inspect", name, "--json").json["digest"] for name in ("unsigned.bundle", "a.bundle")}
    assert len(digests) == 1
    taken = must("bundle", "take-signatures", "a.bundle", "unsigned.bundle", "-o", "taken.bundle")
    assert Path("taken.bundle").read_bytes() == Path("a.bundle").read_bytes()
    assert f"2 signatures, bundle digest {digests.pop()}" in taken.err


def test_signatures_are_taken_only_for_the_same_bytes(here: Path) -> None:
    must(*build("other.bundle", "--issued", "2026-03-18"))
    ran = deltaseal("bundle", "take-signatures", "a.bundle", "other.bundle", "-o", "taken.bundle")
    assert ran.code == 16
    assert "issued differs" in ran.err


def test_a_key_signs_once(here: Path) -> None:
    ran = deltaseal("bundle", "sign", "a.bundle", *RELEASE, "-o", "twice.bundle")
    assert ran.code == 2
    assert "has signed already" in ran.err


def test_a_bundle_with_other_payloads_is_not_signed(here: Path) -> None:
    data = bytearray(Path("unsigned.bundle").read_bytes())
    data[-1] ^= 1
    Path("bad.bundle").write_bytes(data)
    assert deltaseal("bundle", "sign", "bad.bundle", *RELEASE, "-o", "out").code == 16


def test_nobody_signs(here: Path) -> None:
    ran = deltaseal("bundle", "sign", "unsigned.bundle", "-o", "out")
    assert ran.err == (
        "deltaseal: E_USAGE: nobody signs (hint: name a key file with --key, or a command with --signer)\n"
    )
    assert ran.code == 2


def test_a_command_signs(here: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from deltaseal.trust import PrivateKey;"
        "sys.stdout.buffer.write(PrivateKey.load(Path(sys.argv[1])).sign(sys.stdin.buffer.read()))"
    )
    signers = []
    for algorithm in ("ed25519", "ml-dsa-65"):
        name = f"release.{algorithm}"
        signers += ["--signer", f"{name}.pub", f"{sys.executable} -c '{script}' {name}.pem"]
    must("bundle", "sign", "unsigned.bundle", *signers, "-o", "signed.bundle")
    must("verify", "signed.bundle", "--trust", "trust.json")


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("true", 10, "are no signature"),
        ("false", 10, "ended with 1"),
        ("/nowhere/signer", 2, "cannot run"),
        ("'unclosed", 2, "cannot be read"),
        ("", 2, "empty"),
    ],
)
def test_a_command_that_does_not_sign(here: Path, command: str, code: int, words: str) -> None:
    ran = deltaseal(
        "bundle", "sign", "unsigned.bundle", "--signer", "release.ed25519.pub", command, "-o", "out"
    )
    assert ran.code == code
    assert words in ran.err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("--letter", "A", 2),
        ("--letter", "aa", 2),
        ("--id", "../x", 2),
        ("--sequence", "0", 2),
        ("--build", "with space", 2),
        ("--component", ["os", "tree/app", "tree-fixed/app"], 2),
        ("--component", ["app", "tree-fixed/app", "tree/app"], 13),
        ("--component", ["app", "tree/app", "tree/app"], 2),
        ("--earlier", "a.bundle", 2),
        ("--result", ["unknown-id", "app", "tree/app"], 2),
    ],
)
def test_a_release_that_must_not_be(here: Path, option: str, value: str | list[str], code: int) -> None:
    arguments = build("out")
    values = value if isinstance(value, list) else [value]
    if option in arguments:
        at = arguments.index(option) + 1
        arguments[at : at + len(values)] = values
    else:
        arguments += [option, *values]
    ran = deltaseal(*arguments)
    assert ran.code == code, ran.err
    assert not Path("out").exists()


def test_R03_a_higher_letter_that_loses_a_fix_is_refused(here: Path) -> None:
    arguments = build("b.bundle", "--earlier", "a.bundle")
    for old, new in (("macos-26.3.1-a", "macos-26.3.1-b"), ("25D771280a", "25D771280b")):
        arguments[arguments.index(old)] = new
    arguments[arguments.index("--letter") + 1] = "b"
    arguments[arguments.index("--sequence") + 1] = "2"
    results = ["--result", "macos-26.3.1-a", "app", "tree-fixed/app"]
    lost = [one for one in arguments if one not in ("--fixes", "fixes.toml")]
    (here / "tree-fixed" / "app" / "more.txt").write_text("more")
    ran = deltaseal(*lost)
    assert ran.code == 2
    assert "CVE-2026-20643" in ran.err
    shutil.copytree("tree-fixed", "tree-a")
    (here / "tree-a" / "app" / "more.txt").unlink()
    results[-1] = "tree-a/app"
    must(*arguments, *results)
    must(*lost, "--withdrawn", "macos-26.3.1-a", "--force")


# ---- manifest --------------------------------------------------------------------------------------------


def test_a_device_manifest_narrows(here: Path) -> None:
    issue = ["manifest", "issue", "a.bundle", "--trust", "trust.json", *ONLINE]
    must(*issue, "--model", "Mac15,6", "--phase", "250", "--channel", "seed", "-o", "narrow.manifest")
    said = body("narrow.manifest")
    assert (said["models"], said["phase"], said["channel"]) == (["Mac15,6"], 250, "seed")
    assert deltaseal(*issue, "--model", "Mac99,9", "-o", "wide.manifest").code == 2
    assert deltaseal(*issue, "--expires-after", "8", "-o", "long.manifest").code == 2
    assert deltaseal(*issue, "--model", "Mac15,6", "--request", "request.json", "-o", "both").code == 2
    must(*issue, "--request", "request.json", "-o", "mine.manifest")
    assert "personal" in body("mine.manifest")


def test_an_issue_needs_a_bundle_that_is_signed(here: Path) -> None:
    ran = deltaseal("manifest", "issue", "unsigned.bundle", "--trust", "trust.json", *ONLINE, "-o", "out")
    assert ran.code == 10


def test_a_withdrawal_names_what_is_open_again(here: Path) -> None:
    arguments = ["manifest", "catalogue", "--os", "macos", "--serial", "2", "--trust", "trust.json"]
    arguments += ["--base", "macos.base", "--bundle", "a.bundle", "250", *RELEASE, "-o", "c"]
    must(*arguments, "--withdraw", "macos-26.3.1-a", "remove", "--minimum", "1")
    order = {"id": "macos-26.3.1-a", "action": "remove", "reopens": ["CVE-2026-20643"]}
    said = body("c")
    assert said["withdrawals"] == [order]
    assert said["minimum_sequence"] == 1
    assert said["issued"] == TODAY
    assert deltaseal(*arguments, "--force", "--withdraw", "ios-1-a", "keep").code == 2
    assert deltaseal(*arguments, "--force", "--withdraw", "macos-26.3.1-a", "explode").code == 2


def test_a_base_declares_its_components(here: Path) -> None:
    must(*base("b.base"))
    app = must("inspect", "tree/app", "--json").json["digest"]
    assert body("b.base")["components"] == {"app": app}


def _scenario(*more: str) -> list[str]:
    trees = {name: "tree/app" for name in ("phone", "pad", "mac", "neo")}
    trees |= {f"{name}-fixed": "tree-fixed/app" for name in trees}
    options = [one for name, tree in trees.items() for one in ("--tree", name, tree)]
    return ["manifest", "scenario", str(SCENARIO), *options, *more]


def test_a_scenario_is_a_whole_publisher(here: Path) -> None:
    ran = must(*_scenario("--keys", "keys", "-o", "all", "--json"))
    names = sorted(path.name for path in Path("all").iterdir())
    assert sorted(ran.json["files"]) == names
    assert len([name for name in names if name.endswith(".bundle")]) == 4
    assert len(list(Path("keys").iterdir())) == 20
    for name in names:
        if name != "trust.json":
            must("verify", f"all/{name}", "--trust", "all/trust.json")


def test_a_scenario_that_fails_leaves_nothing(here: Path) -> None:
    before = snapshot(here)
    short = _scenario("-o", "all")
    short.remove("--tree")
    del short[3:5]
    assert deltaseal(*short).code == 2
    assert deltaseal(*_scenario("-o", "tree")).code == 2
    assert deltaseal(*_scenario("-o", "all", "--keys", "tree")).code == 2
    assert deltaseal("manifest", "scenario", "fixes.toml", "-o", "all").code == 2
    assert deltaseal("manifest", "scenario", "old", "-o", "all").code == 2
    assert snapshot(here) == before
