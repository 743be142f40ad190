"""Every byte of a delta is somebody's: sums, functions, pages."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.compressed import lines, png

import deltaseal
from deltaseal import images
from deltaseal._core import STREAM_NAMES, CoreError, explain
from deltaseal.errors import BaseMismatchError, DeltaError, DigestError, UsageError
from deltaseal.lab.explain import Explanation
from deltaseal.lab.explain import explain as account
from deltaseal.lab.explain.image import NamedBytes, explain_image
from deltaseal.lab.explain.kinds import KINDS, kind_of
from deltaseal.lab.explain.names import readable
from deltaseal.lab.explain.parts import parts_of
from deltaseal.lab.explain.tables import explanation_lines
from deltaseal.lab.explain.treemap import treemap

GOLDEN = Path("tests/spec/golden")
PAIRS = ("x86-64", "aarch64", "mach-o", "plain")
EFFORTS = ("default", "best")


def adds_up(found: Explanation) -> None:
    for key in ("kind", "section", "stream", "file"):
        assert sum(found.by(lambda share, key=key: getattr(share, key)).values()) == found.size, key  # type: ignore[misc]
    assert all(share.bytes >= 0 for share in found.shares)
    spent = {(f.file, f.name, f.address): f.bytes for f in found.functions}
    assert len(spent) == len(found.functions) and sum(spent.values()) <= found.size


@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("name", PAIRS)
def test_shares_add_up_to_the_size_of_the_delta(tmp_path: Path, name: str, effort: str) -> None:
    old, new, delta = GOLDEN / f"{name}.old", GOLDEN / f"{name}.new", tmp_path / "d"
    deltaseal.diff(old, new, delta, effort=effort)
    found = account(delta, old=old, new=new)
    assert found.size == delta.stat().st_size and found.complete
    adds_up(found)
    if name != "plain":
        assert {"changed code", "block layout", "container"} <= set(found.by(lambda share: share.kind))
        assert found.functions
    alone = account(delta)
    assert not alone.complete and alone.size == found.size
    adds_up(alone)


@st.composite
def edits(draw: st.DrawFn) -> bytes:
    data = bytearray((GOLDEN / f"{draw(st.sampled_from(PAIRS))}.new").read_bytes())
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 200))] = draw(st.binary(max_size=200))
    return bytes(data)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(old=st.sampled_from(PAIRS), new=edits(), effort=st.sampled_from(EFFORTS))
def test_whatever_the_images_every_byte_is_somebody_s(old: str, new: bytes, effort: str) -> None:
    before = (GOLDEN / f"{old}.old").read_bytes()
    delta = images.diff_bytes(before, new, effort=effort)
    shares, functions = explain_image([NamedBytes("", before)], [NamedBytes("", new)], delta)
    assert sum(share.bytes for share in shares) == len(delta)
    assert all(share.kind in KINDS for share in shares)
    assert sum(function.bytes for function in functions) <= len(delta)


@pytest.mark.parametrize("effort", EFFORTS)
def test_what_lies_in_compressed_streams_is_resources(effort: str) -> None:
    text = lines(30_000)
    old, new = (
        b"\0" * 999 + png(content, 5000) for content in (text, text[:9000] + b"something new" + text[9000:])
    )
    delta = images.diff_bytes(old, new, effort=effort)
    shares, _ = explain_image([NamedBytes("", old)], [NamedBytes("", new)], delta)
    assert sum(share.bytes for share in shares) == len(delta)
    assert any(share.section == "(compressed streams)" and share.kind == "resources" for share in shares)


# ---- functions ---------------------------------------------------------------------------------

_LIBRARY = """\
static int helper%(n)d(int x) {{ int s = x; for (int i = 0; i < x; i++) s = s * %(n)d + i; return s; }}
int exported%(n)d(int x) {{ return helper%(n)d(x) + %(n)d; }}
"""
_CHANGED = """\
int parse_header(const unsigned char *p, int size) {{
    int sum = 0;
    {check}
    for (int i = 0; i < size; i++) sum = sum * 31 + p[i];
    return sum;
}}
"""
_CHECK = "if (size < 4 || size > 4096 || p[0] != 'D') return -1; sum = p[1] << 8 | p[2];"


def compiled(folder: Path, name: str, check: str, *options: str) -> Path:
    """A library of sixty functions, of which one says ``check`` first."""
    functions = "".join(_LIBRARY.format() % {"n": n} for n in range(3, 33))
    source = folder / f"{name}.c"
    source.write_text(
        functions
        + _CHANGED.format(check=check)
        + "".join(_LIBRARY.format() % {"n": n} for n in range(33, 63))
    )
    made = folder / f"{name}.so"
    command = ["gcc", "-O1", "-fno-inline", "-shared", "-fPIC", *options, str(source), "-o", str(made)]
    subprocess.run(command, check=True)
    return made


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
@pytest.mark.parametrize("effort", EFFORTS)
@pytest.mark.parametrize("stripped", [False, True])
def test_the_one_function_that_differs_is_named_first(tmp_path: Path, stripped: bool, effort: str) -> None:
    options = ["-s"] if stripped else []
    old = compiled(tmp_path, "old", "", *options)
    new = compiled(tmp_path, "new", _CHECK, *options)
    deltaseal.diff(old, new, tmp_path / "d", effort=effort)
    found = account(tmp_path / "d", old=old)
    adds_up(found)
    first, *others = found.functions
    assert (first.name, first.change, first.section) == ("parse_header", "changed", ".text")
    assert first.old_size is not None and first.old_size < first.new_size
    assert first.bytes > 2 * sum(f.bytes for f in others if f.section == ".text")
    assert {f.change for f in others if f.section == ".text"} <= {"moved"}
    assert explanation_lines(found)[0].endswith(f"{new.stat().st_size:,}")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
def test_a_function_without_an_older_self_is_new(tmp_path: Path) -> None:
    old = compiled(tmp_path, "old", "")
    source = (tmp_path / "old.c").read_text()
    odd = (
        "unsigned long mixed(unsigned long *t) {{ unsigned long h = 14695981039346656037UL; {} return h; }}\n"
    )
    steps = "".join(f"h ^= t[{n}] >> {n % 7 + 1}; h *= {n * 7919 + 1000003}UL; " for n in range(40))
    (tmp_path / "new.c").write_text(source + odd.format(steps))
    new = tmp_path / "new.so"
    subprocess.run(
        ["gcc", "-O1", "-fno-inline", "-shared", "-fPIC", tmp_path / "new.c", "-o", new], check=True
    )
    deltaseal.diff(old, new, tmp_path / "d")
    found = account(tmp_path / "d", old=old)
    first = found.functions[0]
    assert (first.name, first.change, first.old_size) == ("mixed", "new", None)
    assert found.by(lambda share: share.kind)["new code"] > 100


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
def test_of_functions_that_share_a_name_each_keeps_its_own_older_self(tmp_path: Path) -> None:
    made = {}
    for side, more in (("old", ""), ("new", "if (x > 9) return 7;")):
        sources = []
        for n, extra in ((1, ""), (2, more)):
            body = " ".join(
                f"x = (x ^ {n * 977 + i}) * {i * 31 + n}; x ^= x >> {i % 7 + 1};" for i in range(20 * n)
            )
            path = tmp_path / f"{side}{n}.c"
            path.write_text(
                f"static int same(int x) {{ {extra} {body} return x; }}\n"
                f"int call{n}(int x) {{ return same(x); }}\n"
            )
            sources.append(str(path))
        made[side] = tmp_path / f"{side}.so"
        command = ["gcc", "-O1", "-fno-inline", "-shared", "-fPIC", *sources, "-o", str(made[side])]
        subprocess.run(command, check=True)
    deltaseal.diff(made["old"], made["new"], tmp_path / "d")
    found = account(tmp_path / "d", old=made["old"])
    (function,) = (f for f in found.functions if f.name == "same" and f.change != "moved")
    assert function.change == "changed" and function.old_size is not None
    assert 0 < function.new_size - function.old_size < 60


# ---- trees -------------------------------------------------------------------------------------


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    for side in ("old", "new"):
        root = tmp_path / side
        (root / "lib").mkdir(parents=True)
        for name in PAIRS:
            shutil.copy(GOLDEN / f"{name}.{side}", root / "lib" / name)
        for n in range(30):
            (root / f"note{n}").write_bytes(lines(400 + 10 * n, seed=n) + side.encode() * (n % 3))
        (root / "empty").write_bytes(b"")
    (tmp_path / "new" / "added").write_bytes(lines(3000, seed=99))
    (tmp_path / "new" / "nothing").write_bytes(b"")
    return tmp_path / "old", tmp_path / "new"


@pytest.mark.parametrize("effort", EFFORTS)
def test_a_tree_is_accounted_for_file_by_file(tmp_path: Path, trees: tuple[Path, Path], effort: str) -> None:
    old, new = trees
    deltaseal.diff(old, new, tmp_path / "d", effort=effort)
    found = account(tmp_path / "d", old=old, new=new)
    adds_up(found)
    files = found.by(lambda share: share.file)
    assert {"lib/x86-64", "lib/aarch64", "lib/mach-o", "added"} <= set(files)
    assert files["added"] > 100 and any(function.file == "lib/mach-o" for function in found.functions)
    alone = account(tmp_path / "d")
    adds_up(alone)
    assert set(alone.by(lambda share: share.file)) <= set(files) | {"nothing"}


# ---- refusals ----------------------------------------------------------------------------------


def test_other_sides_are_refused(tmp_path: Path) -> None:
    old, new, delta = GOLDEN / "x86-64.old", GOLDEN / "x86-64.new", tmp_path / "d"
    deltaseal.diff(old, new, delta)
    with pytest.raises(BaseMismatchError):
        account(delta, old=new)
    with pytest.raises(DigestError):
        account(delta, old=old, new=old)
    with pytest.raises(UsageError):
        account(delta, new=new)
    delta.write_bytes(delta.read_bytes()[:-3])
    with pytest.raises(DeltaError):
        account(delta, old=old)


@pytest.mark.parametrize("bounds", [[], [1], [0, 5, 5], [0, 9, 4]])
def test_the_core_refuses_bounds_that_do_not_ascend_from_nothing(bounds: list[int]) -> None:
    old = (GOLDEN / "plain.old").read_bytes()
    delta = images.diff_bytes(old, (GOLDEN / "plain.new").read_bytes())
    with pytest.raises(CoreError, match="contract"):
        explain(old, delta, bounds, output_bytes=1 << 30, memory_bytes=1 << 30)


@pytest.mark.parametrize("effort", EFFORTS)
def test_the_core_explains_damage_as_it_applies_it(effort: str) -> None:
    old = (GOLDEN / "aarch64.old").read_bytes()
    delta = images.diff_bytes(old, (GOLDEN / "aarch64.new").read_bytes(), effort=effort)
    for at in range(80, len(delta), max(1, len(delta) // 40)):
        bent = delta[:at] + bytes([delta[at] ^ 0x41]) + delta[at + 1 :]
        try:
            images.apply(old, bent, lambda piece: None)
            good = True
        except deltaseal.DeltasealError:
            good = False
        try:
            explain(old, bent, [0, 100], output_bytes=1 << 26, memory_bytes=1 << 28)
        except CoreError:
            assert not good
        else:
            assert good


# ---- parts of images ---------------------------------------------------------------------------


def bend(data: bytes, at: int, value: int, size: int) -> bytes:
    bent = bytearray(data[:size])
    if bent:
        bent[at % len(bent)] = value
    return bytes(bent)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PAIRS), st.integers(0, 4096), st.integers(0, 255), st.integers(0, 1 << 17))
def test_parts_cover_whatever_the_file_says(name: str, at: int, value: int, size: int) -> None:
    data = bend((GOLDEN / f"{name}.new").read_bytes(), at, value, size)
    parts = parts_of(data)
    end = 0
    for section in parts.sections:
        assert section.offset == end and (section.size > 0 or not data)
        end = section.end
    assert end == len(data)
    last = 0
    for function in parts.functions:
        assert last <= function.offset < function.end <= len(data)
        last = function.end


def test_every_stream_has_a_kind() -> None:
    names = [
        *STREAM_NAMES,
        *images.account(b"old", images.diff_bytes(b"old", b"new" * 900, effort="best"), [0]).kinds,
    ]
    assert {kind_of("code", name) for name in names} == {
        "changed code",
        "reference residuals",
        "block layout",
    }
    assert {kind_of("code", name, is_new=True) for name in names} >= {"new code", "changed code"}
    assert {kind_of("data", name, is_text=True) for name in names} >= {"strings"}


# ---- pages -------------------------------------------------------------------------------------


def test_the_treemap_is_whole_in_itself_and_adds_up(tmp_path: Path, trees: tuple[Path, Path]) -> None:
    old, new = trees
    deltaseal.diff(old, new, tmp_path / "d")
    found = account(tmp_path / "d", old=old)
    page = treemap(found, "</script><b>d")
    assert not re.findall(r'(?:src|href)="|url\(|@import', page)
    assert page.count("</script>") == 2
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    root = json.loads(data)
    assert root["n"] == "</script><b>d" and root["b"] == found.size

    def check(node: dict[str, object]) -> None:
        children = node.get("c")
        if isinstance(children, list):
            assert sum(child["b"] for child in children) == node["b"]
            for child in children:
                check(child)
        else:
            assert node["k"] in KINDS

    check(root)


# ---- names -------------------------------------------------------------------------------------


# Templates, substitutions, local names; what is cut, or no symbol at all.
_KEPT = ("_Z3maxIiEvv", "_ZN1aIiE1fEv", "_ZNSt6vectorC1Ev", "_ZZ4mainE1x", "_ZN4node", "_Z", "_ZN9zE")


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("parse_header", "parse_header"),
        ("_ZN4node4Blob3NewEPS0_", "node::Blob::New(…)"),
        ("_ZNK4node4Blob4sizeEv", "node::Blob::size()"),
        ("_ZN4node4BlobC2Ei", "node::Blob::Blob(…)"),
        ("_ZN4node4BlobD0Ev", "node::Blob::~Blob()"),
        ("_Z4initv", "init()"),
        ("_ZN12_GLOBAL__N_14stepEi", "(anonymous namespace)::step(…)"),
        ("0x1f0 (behind _ZN2os4initEv.part.0)", "0x1f0 (behind os::init().part.0)"),
        ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
        *(
            (kept, kept)  # templates, substitutions, local names; what is cut or no symbol at all
            for kept in (
                "_Z3maxIiEvv",
                "_ZN1aIiE1fEv",
                "_ZNSt6vectorC1Ev",
                "_ZZ4mainE1x",
                "_ZN4node",
                "_Z",
                "_ZN9zE",
            )
        ),
    ],
)
def test_names_are_shown_as_one_writes_them(symbol: str, name: str) -> None:
    assert readable(symbol) == name


@given(st.text(st.sampled_from("_ZNKE0123456789abCDSIv.$ "), max_size=40))
def test_any_symbol_is_shown_somehow(text: str) -> None:
    assert readable("_Z" + text)
