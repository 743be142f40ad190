"""Making a tree delta: scan both trees, pair their files, code what is new, prove the result."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from deltaseal import images
from deltaseal.errors import UsageError
from deltaseal.storage import BytesSource, PathLike, RealDisk
from deltaseal.trees.applier import judged_tree
from deltaseal.trees.container import dump, load
from deltaseal.trees.grouping import IMAGE_MAGICS, SMALL, Frames, KnownImages, make_groups
from deltaseal.trees.limits import Limits, Progress
from deltaseal.trees.listing import Entry, Listing
from deltaseal.trees.pairing import Need, pair
from deltaseal.trees.paths import parent_of
from deltaseal.trees.plan import CHECK_BYTES, Built, BuiltFile, Content, Edit, Group, OldFile, Plan, SameFile
from deltaseal.trees.rules import Names
from deltaseal.trees.scanned import ScannedTree
from deltaseal.trees.scanner import scan
from deltaseal.trees.sharing import share

__all__ = ["ImagePair", "diff", "image_pairs"]


@dataclass(frozen=True, slots=True)
class ImagePair:
    """An old and a new file whose image delta is made by itself."""

    old: Entry
    new: Entry


def diff(
    old_dir: PathLike,
    new_dir: PathLike,
    *,
    exclude: Collection[str | bytes] = (),
    names: Names = "sensitive",
    effort: str = "default",
    threads: int = 1,
    max_memory: int | None = None,
    whole: bool = False,
    known_images: KnownImages | None = None,
    frames: Frames | None = None,
    progress: Progress | None = None,
) -> bytes:
    """Return the tree delta from ``old_dir`` to ``new_dir``.

    ``exclude`` and ``names`` are what the base says: paths left out of both
    trees, and whether case tells names apart. ``whole`` codes every new
    content by itself, so that no old content is needed but that of entries
    which have it unchanged. ``known_images`` gives image deltas that were made
    before (of ``image_pairs``, say); ``frames`` are those of new contents that
    were compressed before, with the same effort, and grow. Equal inputs give equal bytes, for any
    ``threads``. ``max_memory`` is in bytes, for the work on one image; a file
    for which it is not enough is coded otherwise. ``progress`` is called with
    the bytes hashed and 0 while the trees are scanned, then with bytes of the new contents.

    Raises ``TreeError`` that names all entries which must not be in a tree;
    links of the new tree may leave it only where the old tree has the same;
    ``UsageError`` for an unknown ``effort`` (``images.EFFORTS``).
    """
    if effort not in images.EFFORTS:
        raise UsageError(f"unknown effort {effort!r}", hint="efforts: " + ", ".join(images.EFFORTS))
    with _both(old_dir, new_dir, exclude, names, progress) as (old_tree, new_tree):
        old, new = old_tree.listing, new_tree.listing
        needs = _needs(old_tree, new_tree)
        told = _Told(progress, sum(need.entry.size for need in needs))
        made = make_groups(
            [Need(need.entry, None) for need in needs] if whole else needs,
            read_old=lambda number: old_tree.content([number]),
            read_new=lambda need: new_tree.entry_content(need.entry),
            effort=effort,
            threads=threads,
            max_memory=max_memory,
            advance=told.advance,
            under_way=told.under_way,
            known_images=known_images,
            frames=frames,
        )
    plan = Plan(
        tuple(_edits(old, new, [need.entry for need in needs])),
        tuple(Group(group.coding, group.old, group.new, len(group.payload)) for group in made),
    )
    delta = dump(old.digest, new.digest, plan, [group.payload for group in made])
    _prove(delta, old, new, names)
    return delta


def image_pairs(
    old_dir: PathLike,
    new_dir: PathLike,
    *,
    exclude: Collection[str | bytes] = (),
    names: Names = "sensitive",
    progress: Progress | None = None,
) -> list[ImagePair]:
    """Return the pairs of files whose image deltas ``diff`` makes by themselves, in path order of the new.

    With their deltas at hand (``known_images``) little is left for ``diff`` to do. Raises as ``diff``.
    """
    with _both(old_dir, new_dir, exclude, names, progress) as (old_tree, new_tree):
        needs = _needs(old_tree, new_tree)
        entries = old_tree.listing.entries
        found = [ImagePair(entries[need.old], need.entry) for need in needs if need.old is not None]
        return [one for one in found if one.old.size and _goes_alone(one.new, new_tree)]


def _needs(old_tree: ScannedTree, new_tree: ScannedTree) -> list[Need]:
    """What must be built, each with the old files that it is made from."""
    old, new = old_tree.listing, new_tree.listing
    needs = pair(old, new, read_old=old_tree.entry_content, read_new=new_tree.entry_content)
    return share(needs, old, new, read_old=old_tree.entry_content, read_new=new_tree.entry_content)


def _goes_alone(entry: Entry, tree: ScannedTree) -> bool:
    return entry.size > SMALL or tree.entry_content(entry).startswith(IMAGE_MAGICS)


@contextmanager
def _both(
    old_dir: PathLike,
    new_dir: PathLike,
    exclude: Collection[str | bytes],
    names: Names,
    progress: Progress | None,
) -> Iterator[tuple[ScannedTree, ScannedTree]]:
    """Both trees, scanned."""
    disk = RealDisk()
    with disk.open_root(old_dir) as old_top, disk.open_root(new_dir) as new_top:
        old = scan(disk, old_top, exclude=exclude, names=names, progress=progress)
        new = scan(disk, new_top, exclude=exclude, names=names, links=old, progress=progress)
        with (
            closing(ScannedTree(disk, old_top, old)) as old_tree,
            closing(ScannedTree(disk, new_top, new)) as new_tree,
        ):
            yield old_tree, new_tree


class _Told:
    """Tells how far the work is, in bytes of the new contents."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def advance(self, size: int) -> None:
        """So many bytes more are done."""
        self._done += size
        self.under_way(0)

    def under_way(self, size: int) -> None:
        """So many bytes of the next ones are done."""
        if self._progress:
            self._progress(self._done + size, self._total)


def _edits(old: Listing, new: Listing, built: Sequence[Entry]) -> Iterator[Edit]:
    """Yield what turns ``old`` into ``new``, in path order; the contents of ``built`` are built."""
    contents = _Contents(old, built)
    gone: set[bytes] = set()  # directories that take what is below them along
    for path in sorted(old.by_path.keys() | new.by_path.keys()):
        before, after = old.by_path.get(path), new.by_path.get(path)
        if before and before.kind == "directory" and (after is None or after.kind != "directory"):
            gone.add(path)
        if before == after or (after is None and parent_of(path) in gone):
            continue
        if after is None:
            yield Edit(path, "nothing", was_there=True)
            continue
        yield Edit(
            path,
            after.kind,
            was_there=before is not None,
            executable=after.executable,
            target=after.target,
            content=contents.of(after, before) if after.kind == "file" else None,
        )


class _Contents:
    """Says where the content of a new file comes from."""

    def __init__(self, old: Listing, built: Sequence[Entry]) -> None:
        self._built = {entry.sha256: number for number, entry in enumerate(built)}
        self._makers = {entry.path for entry in built}
        self._old: dict[bytes, int] = {}
        for number, entry in enumerate(old.entries):
            if entry.kind == "file":
                self._old.setdefault(entry.sha256, number)

    def of(self, after: Entry, before: Entry | None) -> Content:
        if after.path in self._makers:
            return Built(after.size, after.sha256[:CHECK_BYTES])
        if after.sha256 in self._built:
            return BuiltFile(self._built[after.sha256])
        if before and before.sha256 == after.sha256:
            return SameFile()
        return OldFile(self._old[after.sha256])


def _prove(delta: bytes, old: Listing, new: Listing, names: Names) -> None:
    """Read the delta as an applier would; its payloads have been proved one by one."""
    planned = judged_tree(load(BytesSource(delta)), old, names=names, limits=Limits())
    entries = [
        replace(entry, sha256=new.by_path[entry.path].sha256)
        if entry.kind == "file" and not entry.sha256
        else entry
        for entry in (item.entry for item in planned)
    ]
    if Listing(tuple(entries)).digest != new.digest:
        raise AssertionError("the plan does not make the new listing")
