"""Images made from any old file of the tree, or from several: code that moved between real libraries."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from spec import delta_reader, image_reader, model_reader, stream_reader, tree_reader
from spec.model_reader_layout import is_modelled
from spec.model_reader_layout import read_header as read_modelled
from spec.test_tree_reader import theirs
from support.image_delta import number, numbers
from support.moved_code import library
from support.trees import apply

from deltaseal import images, trees
from deltaseal.errors import DeltaError, DeltasealError
from deltaseal.images import code_sketch
from deltaseal.storage import BytesSource


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Before: core (0–99), extra (100–159). After: 30 functions went from core to extra, 20 to a new one."""
    made = tmp_path_factory.mktemp("libraries")
    library(made / "before/lib/libcore.so", range(100))
    library(made / "before/lib/libextra.so", range(100, 160))
    library(made / "after/lib/libcore.so", range(50))
    library(made / "after/lib/libextra.so", [*range(100, 160), *range(70, 100)])
    library(made / "after/lib/libnew.so", range(50, 70))
    return made


def image(old: bytes, delta: bytes) -> bytes:
    """As the second readers see it."""
    if is_modelled(delta):
        return model_reader.decode(old, delta, image_reader.parse(old, read_modelled(delta).parts))
    return stream_reader.decode(old, delta, image_reader.parse(old, delta_reader.read_header(delta).parts))


@pytest.mark.parametrize("effort", ["fast", "default", "best"])
def test_code_that_moved_between_libraries(folder: Path, tmp_path: Path, effort: str) -> None:
    old, new = folder / "before", folder / "after"
    delta = trees.diff(old, new, effort=effort)
    apply(old, delta, tmp_path / "made")
    assert theirs(tmp_path / "made") == theirs(new)
    joined = [group for group in trees.inspect(BytesSource(delta)).groups if group.old_files > 1]
    assert bool(joined) == (effort != "fast")


def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image from the one old file of its name."""
    monkeypatch.setattr("deltaseal.trees.creator.share", lambda needs, old, new, **readers: needs)


def test_it_gives_a_third(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = folder / "before", folder / "after"
    with_sharing = len(trees.diff(old, new))
    alone(monkeypatch)
    assert with_sharing < len(trees.diff(old, new)) * 2 / 3


def test_the_second_reader_makes_the_same_tree(folder: Path) -> None:
    old, new = folder / "before", folder / "after"
    for effort in ("default", "best"):
        delta = trees.diff(old, new, effort=effort)
        assert tree_reader.apply(tree_reader.read_delta(delta), *theirs(old), image) == theirs(new)


def test_content_decides_where_a_name_misleads(folder: Path, tmp_path: Path) -> None:
    """Two libraries that swapped names."""
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(folder / "before", old)
    new.mkdir()
    (new / "lib").mkdir()
    library(new / "lib/libcore.so", range(100, 161))
    library(new / "lib/libextra.so", range(101))
    delta = trees.diff(old, new)
    apply(old, delta, tmp_path / "made")
    assert theirs(tmp_path / "made") == theirs(new)
    assert len(delta) < 2500


def test_a_library_split_off_is_made_from_its_origin(folder: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(folder / "before", old)
    shutil.copytree(folder / "before", new)
    library(new / "lib/plugins/libpart.so", range(40, 80))
    delta = trees.diff(old, new)
    assert len(delta) < (new / "lib/plugins/libpart.so").stat().st_size / 8


# What two images have in common


def test_a_sketch_knows_code_wherever_it_lies(folder: Path) -> None:
    core, extra = (
        code_sketch((folder / f"before/lib/{name}").read_bytes()) for name in ("libcore.so", "libextra.so")
    )
    later = code_sketch((folder / "after/lib/libextra.so").read_bytes())
    assert len(extra & later) > 0.8 * len(extra)
    assert len(core & later) > 0.15 * len(core)
    assert len(core & extra) < 0.05 * len(core)


def test_what_is_no_image_has_no_sketch() -> None:
    assert (
        code_sketch(b"")
        == code_sketch(b"\x7fELF" + bytes(1000))
        == code_sketch(b"text " * 1000)
        == frozenset()
    )


# Image deltas of joined files


PARTS = [
    ("before/lib/libextra.so", "before/lib/libcore.so"),
    ("before/lib/libcore.so", "before/lib/libextra.so"),
]


@pytest.mark.parametrize("names", PARTS)
@pytest.mark.parametrize("effort", ["default", "best"])
def test_joined_files(folder: Path, names: tuple[str, str], effort: str) -> None:
    parts = [(folder / name).read_bytes() for name in names]
    new = (folder / "after/lib/libextra.so").read_bytes()
    old, sizes = b"".join(parts), [len(part) for part in parts]
    delta = images.diff_bytes(old, new, effort=effort, parts=sizes)
    assert images.inspect(delta).header.parts == tuple(sizes)
    assert image(old, delta) == new
    assert len(delta) < len(images.diff_bytes(parts[0], new, effort=effort))
    assert len(delta) < len(images.diff_bytes(old, new, effort=effort))


def test_parts_that_are_no_images(folder: Path) -> None:
    """The part that cannot be read does not touch the others; offsets behind it are odd."""
    library_bytes = (folder / "before/lib/libcore.so").read_bytes()
    seed = Path(__file__).parents[2] / "native/fuzz/seeds/image"
    parts = [
        b"no image at all",
        library_bytes,
        (seed / "universal.dylib").read_bytes(),
        (seed / "arm64.so").read_bytes(),
    ]
    new = (folder / "after/lib/libcore.so").read_bytes()
    delta = images.diff_bytes(b"".join(parts), new, parts=[len(part) for part in parts])
    assert image(b"".join(parts), delta) == new
    assert len(delta) < 1.2 * len(images.diff_bytes(library_bytes, new))


@pytest.mark.parametrize(
    ("count", "sizes", "reason"),
    [
        (1, [], "E_DELTA"),
        (2, [0], "E_DELTA"),
        (2, [47136 + 72048], "E_DELTA"),
        (3, [47136, 72048], "E_DELTA"),
        (9, [1] * 8, "E_LIMIT"),
    ],
)
@pytest.mark.parametrize("effort", ["default", "best"])
def test_both_refuse_wrong_parts(
    folder: Path, effort: str, count: int, sizes: list[int], reason: str
) -> None:
    parts = [(folder / name).read_bytes() for name in PARTS[0]]
    old, new = b"".join(parts), (folder / "after/lib/libextra.so").read_bytes()
    delta = images.diff_bytes(old, new, effort=effort, digests=False, parts=[len(part) for part in parts])
    modelled = effort == "best"
    head = delta_reader.Reader(delta, 6 if modelled else 9)
    head.number()
    start = head.at
    head.number(), head.number()
    listed = head.at
    head.number(), head.number()
    rest = delta[start:listed] + numbers(count, *sizes) + delta[head.at :]
    before = delta[: 6 if modelled else 9]
    total = len(before) + len(rest) + 2
    assert 128 <= total < 16384  # so that it is two bytes itself
    wrong = before + number(total) + rest
    with pytest.raises(delta_reader.Refused) as refused:
        (read_modelled if modelled else delta_reader.read_header)(wrong)
    with pytest.raises(DeltasealError) as error:
        images.apply(old, wrong, lambda piece: None)
    assert refused.value.reason == error.value.reason == reason


def test_a_joined_image_is_not_plain(folder: Path) -> None:
    parts = [(folder / name).read_bytes() for name in PARTS[0]]
    new = (folder / "after/lib/libextra.so").read_bytes()
    delta = images.diff_bytes(b"".join(parts), new, digests=False, parts=[len(part) for part in parts])
    wrong = delta[:5] + bytes([delta[5] | 2]) + delta[6:]
    with pytest.raises(delta_reader.Refused):
        delta_reader.read_header(wrong)
    with pytest.raises(DeltaError):
        images.inspect(wrong)


def test_a_joined_image_whose_second_part_has_the_list() -> None:
    """The list of function starts, of which the new image's is computed, is that of another part."""
    seeds, golden = (
        Path(__file__).parents[2] / "native/fuzz/seeds/image",
        Path(tree_reader.__file__).parent / "golden",
    )
    parts = [(seeds / "lazy.so").read_bytes(), (golden / "mach-o-arm64.old").read_bytes()]
    old, new = b"".join(parts), (golden / "mach-o-arm64.new").read_bytes()
    for effort in ("default", "best"):
        delta = images.diff_bytes(old, new, effort=effort, parts=[len(part) for part in parts])
        assert image(old, delta) == new
        assert len(delta) < 1.3 * len(images.diff_bytes(parts[1], new, effort=effort))


def test_five_threads_make_the_same(folder: Path) -> None:
    parts = [(folder / name).read_bytes() for name in PARTS[0]]
    new, sizes = (folder / "after/lib/libextra.so").read_bytes(), [len(part) for part in parts]
    made = {images.diff_bytes(b"".join(parts), new, parts=sizes, threads=threads) for threads in (1, 2, 5)}
    assert len(made) == 1


def test_groups_stay_within_the_readers_limit(folder: Path, tmp_path: Path) -> None:
    """Old bytes of all groups: 4 × both trees at most, however many new files share one donor."""
    old, new = tmp_path / "old", tmp_path / "new"
    library(old / "libbig.so", range(150))
    new.mkdir()
    for first in range(0, 150, 10):
        library(old / f"libs{first}.so", range(150 + first // 10, 151 + first // 10))
        library(new / f"libs{first}.so", [150 + first // 10, *range(first, first + 10)])
    delta = trees.diff(old, new)
    apply(old, delta, tmp_path / "made")
    assert theirs(tmp_path / "made") == theirs(new)
