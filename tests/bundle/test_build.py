"""Building bundles."""

from __future__ import annotations

import hashlib
import json
import locale
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.publisher import (
    DAY_ZERO,
    MANIFEST,
    RELEASE,
    component_files,
    mac_base,
    mac_bundle,
    signers,
    write_tree,
)

from deltaseal import trees
from deltaseal.bundle import (
    Bundle,
    ComponentTrees,
    Earlier,
    Making,
    bare_size_allowed,
    build,
    make_base,
    open_bundle,
    take_signatures,
)
from deltaseal.errors import BaseMismatchError, DigestError, LimitError, SequenceError, TreeError, UsageError
from deltaseal.manifest import ROUTE_BASELINE, ROUTE_LETTER, ROUTE_WHOLE, Base, Fix, Route, vex_document
from deltaseal.storage import BytesSource, RealDisk, chunks

SIGNERS = signers().signers["release:macos"]


def payload_of(bundle: Bundle, route: Route) -> BytesSource:
    place = [digest for digest, _ in bundle.manifest.payloads()].index(route.sha256)
    return BytesSource(b"".join(chunks(bundle.payloads[place])))


def applied(bundle: Bundle, route: Route, start: Path, dest: Path) -> str:
    """The digest of what a route makes of a directory."""
    dest.mkdir()
    disk = RealDisk()
    with disk.open_root(start) as old, disk.open_root(dest) as new:
        return trees.apply(disk, old, payload_of(bundle, route), new).digest.hex()


def test_every_route_leads_to_the_result(tmp_path: Path) -> None:
    bundle = mac_bundle(tmp_path)
    change = bundle.manifest.components["app"]
    assert [route.kind for route in change.routes] == [ROUTE_BASELINE, ROUTE_WHOLE]
    assert change.base_tree == mac_base(tmp_path / "old").components["app"]
    assert change.result_tree == mac_base(tmp_path / "new").components["app"]
    for route in change.routes:
        assert applied(bundle, route, tmp_path / "old", tmp_path / route.kind) == change.result_tree


def test_the_manifest_says_what_is_written(tmp_path: Path) -> None:
    change = mac_bundle(tmp_path).manifest.components["app"]
    engine = (tmp_path / "new/lib/engine.so").stat().st_size
    assert {(route.written_bytes, route.written_files) for route in change.routes} == {(engine, 1)}
    sizes = [path.stat().st_size for path in (tmp_path / "new").rglob("*") if path.is_file()]
    assert (change.result_bytes, change.result_entries) == (sum(sizes), 5)


def test_R16_an_honest_bundle_keeps_its_own_limits(tmp_path: Path) -> None:
    bundle = mac_bundle(tmp_path)
    stated = bundle.manifest.limits
    limits = trees.Limits(stated.output_bytes, stated.memory_bytes, stated.seconds, stated.entries)
    route = bundle.manifest.components["app"].baseline_route
    disk, dest = RealDisk(), tmp_path / "dest"
    dest.mkdir()
    with disk.open_root(tmp_path / "old") as old, disk.open_root(dest) as new:
        trees.apply(disk, old, payload_of(bundle, route), new, limits=limits)


def letters(root: Path, *, changed: int = 4) -> tuple[Base, Path, Bundle, Path]:
    """Baseline, letter a, and the directory of letter b, which is close to a and far from the baseline."""
    old = write_tree(root / "0", {"lib/engine.so": os.urandom(20_000)})
    new = write_tree(root / "a", {"lib/engine.so": os.urandom(20_000)})
    base = mac_base(old)
    a = build(RELEASE, base, {"app": ComponentTrees(old, new)})
    content = bytearray((new / "lib/engine.so").read_bytes())
    content[:changed] = bytes(changed)
    return base, old, a, write_tree(root / "b", {"lib/engine.so": bytes(content)})


B = replace(RELEASE, id="macos-26.3.1-b", letter="b", sequence=2, build="25D771280b")


def test_R4_a_delta_from_a_lower_letter_stands_beside_where_smaller(tmp_path: Path) -> None:
    base, old, a, b_dir = letters(tmp_path)
    earlier = [Earlier(a.manifest, {"app": tmp_path / "a"})]
    b = build(B, base, {"app": ComponentTrees(old, b_dir)}, earlier=earlier)
    change = b.manifest.components["app"]
    assert [route.kind for route in change.routes] == [ROUTE_BASELINE, ROUTE_LETTER, ROUTE_WHOLE]
    letter = change.routes[1]
    assert (letter.from_letter, letter.from_tree) == ("a", a.manifest.components["app"].result_tree)
    assert letter.size < change.baseline_route.size
    assert applied(b, letter, tmp_path / "a", tmp_path / "by-letter") == change.result_tree


def test_R4_and_does_not_where_it_is_not_smaller(tmp_path: Path) -> None:
    base, old, a, _ = letters(tmp_path)
    content = (old / "lib/engine.so").read_bytes()
    near = write_tree(tmp_path / "near", {"lib/engine.so": b"1234" + content[4:]})
    earlier = [Earlier(a.manifest, {"app": tmp_path / "a"})]
    b = build(B, base, {"app": ComponentTrees(old, near)}, earlier=earlier)
    assert [route.kind for route in b.manifest.components["app"].routes] == [ROUTE_BASELINE, ROUTE_WHOLE]


def test_no_delta_starts_from_a_withdrawn_letter(tmp_path: Path) -> None:
    base, old, a, b_dir = letters(tmp_path)
    earlier = [Earlier(a.manifest, {"app": tmp_path / "a"})]
    b = build(B, base, {"app": ComponentTrees(old, b_dir)}, earlier=earlier, withdrawn=[RELEASE.id])
    assert [route.kind for route in b.manifest.components["app"].routes] == [ROUTE_BASELINE, ROUTE_WHOLE]


def test_a_letter_is_proved_by_its_digest(tmp_path: Path) -> None:
    base, old, a, b_dir = letters(tmp_path)
    with pytest.raises(BaseMismatchError, match=RELEASE.id):
        build(B, base, {"app": ComponentTrees(old, b_dir)}, earlier=[Earlier(a.manifest, {"app": b_dir})])


def test_R3_build_refuses_a_lost_fix_and_names_the_CVE(tmp_path: Path) -> None:
    base, old, a, b_dir = letters(tmp_path)
    forgetful = replace(B, cves=(Fix("CVE-2026-1", "app"),))
    with pytest.raises(UsageError, match="CVE-2026-20643"):
        build(forgetful, base, {"app": ComponentTrees(old, b_dir)}, earlier=[Earlier(a.manifest)])
    reused = replace(B, letter="a")
    with pytest.raises(SequenceError):
        build(reused, base, {"app": ComponentTrees(old, b_dir)}, earlier=[Earlier(a.manifest)])


def test_R5_the_old_directory_is_the_base(tmp_path: Path) -> None:
    old = write_tree(tmp_path / "old", component_files("mac", version=1))
    new = write_tree(tmp_path / "new", component_files("mac", version=3))
    base = mac_base(old)
    (old / "share/words.txt").write_bytes(b"other words\n")
    with pytest.raises(BaseMismatchError) as refusal:
        build(RELEASE, base, {"app": ComponentTrees(old, new)})
    assert refusal.value.facts == {
        "expected": base.components["app"],
        "found": mac_base(old).components["app"],
    }


def test_R5_only_what_the_base_declares_and_only_what_changes(tmp_path: Path) -> None:
    old = write_tree(tmp_path / "old", component_files("mac"))
    with pytest.raises(UsageError, match="os"):
        build(RELEASE, mac_base(old), {"os": ComponentTrees(old, old)})
    with pytest.raises(UsageError, match="does not change"):
        build(RELEASE, mac_base(old), {"app": ComponentTrees(old, old)})
    with pytest.raises(UsageError, match="at least one"):
        build(RELEASE, mac_base(old), {})


@pytest.mark.parametrize(
    "wrong",
    [{"id": "Not An Id"}, {"letter": "A"}, {"models": ("a", "a")}, {"activation": "now"}, {"sequence": 0}],
)
def test_what_no_reader_would_take_is_not_built(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        mac_bundle(tmp_path, replace(RELEASE, **wrong))


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = mac_bundle(tmp_path / "somewhere")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    monkeypatch.setattr(locale, "getpreferredencoding", lambda *_: "ascii")
    old = write_tree(tmp_path / "else where/1", dict(reversed(component_files("mac", version=2).items())))
    new = write_tree(tmp_path / "else where/2", component_files("mac", version=3))
    base = mac_base(old)
    again = build(RELEASE, base, {"app": ComponentTrees(old, new)}, making=Making(threads=2))
    assert first.to_bytes() == again.to_bytes()


def test_the_date_is_a_value(tmp_path: Path) -> None:
    later = mac_bundle(tmp_path, replace(RELEASE, issued=DAY_ZERO + 1))
    assert later.manifest.issued == DAY_ZERO + 1


def test_signatures_stand_apart(tmp_path: Path) -> None:
    bundle = mac_bundle(tmp_path)
    signed = bundle.signed(SIGNERS)
    assert signed.digest == bundle.digest == signed.signed([]).digest
    assert len(signed.document.signatures) == 4
    by_two = bundle.signed(SIGNERS[:2]).signed(SIGNERS[2:])
    assert by_two.size() == signed.size()
    with pytest.raises(UsageError, match="signed already"):
        signed.signed(SIGNERS[:1])


def test_a_rebuilt_bundle_takes_over_the_signatures(tmp_path: Path) -> None:
    published = mac_bundle(tmp_path / "vendor").signed(SIGNERS)
    rebuilt = mac_bundle(tmp_path / "rebuilder")
    assert take_signatures(published, rebuilt).to_bytes() == published.to_bytes()
    from_file = open_bundle(BytesSource(published.to_bytes())).editable()
    assert take_signatures(from_file, rebuilt).to_bytes() == published.to_bytes()


@pytest.mark.parametrize("damaged", ["published", "rebuilt"])
def test_a_damaged_payload_is_never_passed_on_with_signatures(tmp_path: Path, damaged: str) -> None:
    rebuilt = mac_bundle(tmp_path)
    published = rebuilt.signed(SIGNERS)
    pair = {"published": published, "rebuilt": rebuilt}
    data = bytearray(pair[damaged].to_bytes())
    data[-1] ^= 1
    pair[damaged] = open_bundle(BytesSource(bytes(data))).editable()
    with pytest.raises(DigestError, match=f"the {damaged} bundle is damaged"):
        take_signatures(pair["published"], pair["rebuilt"])


def test_another_bundle_does_not(tmp_path: Path) -> None:
    published = mac_bundle(tmp_path / "vendor").signed(SIGNERS)
    other = mac_bundle(tmp_path / "other", replace(RELEASE, build="25D9"))
    with pytest.raises(DigestError, match="build differs"):
        take_signatures(published, other)


def changed_trees(root: Path, count: int) -> tuple[Path, Path]:
    """A component with ``count`` unchanged files, and three that change."""
    unchanged = {f"share/{n % 100:02}/file-{n:05}.txt": b"unchanged %d" % n for n in range(count)}
    old = write_tree(root / "old", {**unchanged, **{f"lib/{n}.so": b"old %d" % n * 99 for n in range(3)}})
    new = write_tree(root / "new", {f"lib/{n}.so": b"new %d" % n * 99 for n in range(3)})
    for number in range(100):
        (new / f"share/{number:02}").mkdir(parents=True)
    for name in unchanged:  # a second name is made faster than a second file
        os.link(old / name, new / name)
    return old, new


def test_the_size_without_payloads_does_not_depend_on_the_component(tmp_path: Path) -> None:
    old, new = changed_trees(tmp_path, 10_000)
    bundle = build(RELEASE, mac_base(old), {"app": ComponentTrees(old, new)})
    assert bundle.manifest.components["app"].result_entries > 10_000
    unsigned = bundle.size() - sum(size for _, size in bundle.manifest.payloads())
    assert unsigned <= bare_size_allowed(changed_files=3) == 2048 + 450
    signed = bundle.signed(SIGNERS)
    bare = signed.size() - sum(size for _, size in signed.manifest.payloads())
    assert bare <= 2048 + 450 + 2 * 3400 + 2 * 100
    for route in bundle.manifest.components["app"].routes:
        info = trees.inspect(payload_of(bundle, route))
        assert info.size - sum(group.delta_bytes for group in info.groups) <= 3 * 150


def test_the_size_without_payloads_is_held(tmp_path: Path) -> None:
    wordy = tuple(Fix(f"CVE-2026-{n}", "app", impact="many words " * 20) for n in range(20))
    with pytest.raises(LimitError, match="allowed are 2198") as refusal:
        mac_bundle(tmp_path, replace(RELEASE, cves=wordy))
    assert "shorten" in refusal.value.hint
    short = tuple(Fix(f"CVE-2026-{n}", "app") for n in range(20))
    assert mac_bundle(tmp_path / "short", replace(RELEASE, cves=short)).manifest.cves == short


def test_H12_what_the_base_excludes_is_left_out(tmp_path: Path) -> None:
    old = write_tree(tmp_path / "old", component_files("mac", version=2))
    new = write_tree(tmp_path / "new", component_files("mac", version=3))
    clean = mac_base(old)
    (old / "su").write_bytes(b"privileged")
    (old / "su").chmod(0o4755)
    with pytest.raises(TreeError, match="su"):
        mac_base(old)
    base = make_base("macos", "26.3.1", "25D2128", {"app": old}, exclude=["su"])
    assert base.components == clean.components
    built = build(RELEASE, base, {"app": ComponentTrees(old, new)})
    assert built.manifest.components["app"].base_tree == clean.components["app"]


def test_two_components_share_an_equal_payload(tmp_path: Path) -> None:
    old = write_tree(tmp_path / "old", component_files("mac", version=2))
    new = write_tree(tmp_path / "new", component_files("mac", version=3))
    base = make_base("macos", "26.3.1", "25D2128", {"app": old, "os": old})
    bundle = build(RELEASE, base, {name: ComponentTrees(old, new) for name in ("os", "app")})
    assert list(bundle.manifest.components) == ["app", "os"]
    assert len(bundle.payloads) == 3  # the delta, the whole files, and what it fixes
    assert bundle.manifest.models == MANIFEST.models


def test_what_it_fixes_lies_in_it_as_openvex(tmp_path: Path) -> None:
    bundle = mac_bundle(tmp_path)
    attached = bundle.manifest.vex
    assert attached is not None
    data = b"".join(chunks(bundle.payloads[-1]))
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (attached.sha256, attached.size)
    document = json.loads(data)
    assert document["@context"] == "https://openvex.dev/ns/v0.2.0"
    [statement] = document["statements"]
    assert (statement["status"], statement["vulnerability"]["name"]) == ("fixed", "CVE-2026-20643")
    assert statement["products"][0]["@id"] == "pkg:generic/macos@26.3.1?build=25D2128&letter=a"
    assert data == vex_document(bundle.manifest)


def test_an_improvement_that_fixes_nothing_states_nothing(tmp_path: Path) -> None:
    bundle = mac_bundle(tmp_path, replace(RELEASE, cves=()))
    assert bundle.manifest.vex is None
    assert len(bundle.payloads) == 2


def test_a_directory_that_changes_meanwhile_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = trees.diff

    def diff_late(old: Path, new: Path, **how: Any) -> bytes:
        (new / "share/words.txt").write_bytes(b"late words\n")
        return real(old, new, **how)

    monkeypatch.setattr(trees, "diff", diff_late)
    with pytest.raises(DigestError, match="while"):
        mac_bundle(tmp_path)
