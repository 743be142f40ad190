"""Making, applying and proving deltas, of images and of trees alike.

Two files are images, two directories are trees; a delta says itself what it is
for.  Outputs are written through ``storage``: whole, or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Literal, NamedTuple

from deltaseal import images
from deltaseal.errors import DigestError, DocumentTypeError, UsageError
from deltaseal.storage import (
    ByteSource,
    BytesSource,
    Dir,
    FileSource,
    RealDisk,
    chunks,
    open_output,
    open_output_dir,
    plain_path,
)
from deltaseal.verbs.kinds import PathLike, Progress, is_directory, kind_of

if TYPE_CHECKING:
    from deltaseal import trees

__all__ = ["Applied", "DeltaKind", "Made", "apply", "diff", "prove"]

DeltaKind = Literal["image delta", "tree delta"]
_STEPS = 1000  # how far the making of an image delta is, in the core's own measure


class Made(NamedTuple):
    """A delta that was made and proved. Sizes in bytes; digests hexadecimal, as the delta holds them: of an
    image the first 16 bytes of its SHA-256.
    """

    kind: DeltaKind
    size: int
    old_size: int
    new_size: int
    old_digest: str
    new_digest: str


class Applied(NamedTuple):
    """What applying a delta wrote. Size in bytes; ``digest`` is an image's SHA-256 or a tree digest."""

    kind: Literal["image", "tree"]
    size: int
    digest: str


def diff(
    old: PathLike,
    new: PathLike,
    delta: PathLike,
    *,
    effort: str = "default",
    threads: int = 1,
    max_memory: int | None = None,
    exclude: Collection[str] = (),
    names: trees.Names = "sensitive",
    force: bool = False,
    progress: Progress | None = None,
) -> Made:
    """Write the delta that makes ``new`` from ``old``: both files, or both directories.

    The delta is applied and compared before it is written. ``effort`` is one of ``images.EFFORTS``,
    ``max_memory`` is in bytes, for one image. ``exclude`` and ``names`` are for directories, as in
    ``trees.scan``.

    Raises ``UsageError`` for a file and a directory, or an output that exists (without ``force``) or is an
    input; ``TreeError`` for what must not be in a tree; ``LimitError`` for an image that needs more memory.
    """
    before, after = plain_path(old), plain_path(new)
    kind = _kind_between(before, after)
    # Opened first: an output that cannot be written is said before the work, not after it.
    with open_output(delta, force=force, inputs=[before, after], verify=True, hasher=images.hasher) as output:
        if kind == "tree delta":
            from deltaseal import trees

            made = trees.diff(
                before,
                after,
                exclude=exclude,
                names=names,
                effort=effort,
                threads=threads,
                max_memory=max_memory,
                progress=progress,
            )
        else:
            made = images.diff(
                before,
                after,
                effort=effort,
                threads=threads,
                max_memory=max_memory,
                progress=_image_progress(progress, after),
            )
        output.write(made)
    old_digest, new_digest = _digests(BytesSource(made), kind)
    return Made(kind, len(made), _size(before), _size(after), old_digest, new_digest)


def apply(
    old: PathLike,
    delta: PathLike,
    new: PathLike,
    *,
    exclude: Collection[str] = (),
    names: trees.Names = "sensitive",
    force: bool = False,
    progress: Progress | None = None,
) -> Applied:
    """Write ``new``, which ``delta`` makes of ``old``; the delta says whether that is a file or a directory.

    A new file gets the permission bits of the old one. Nothing is left where this raises:
    ``BaseMismatchError`` if ``old`` is not what the delta was made from (both digests are said),
    ``DeltaError``, ``LimitError``, ``DigestError``, ``TreeError``, and ``UsageError`` as ``diff``.
    """
    before, path = plain_path(old), plain_path(delta)
    if delta_kind(path, before) == "tree delta":
        with open_output_dir(new, force=force, inputs=[before, path]) as dest:
            listing = _apply_tree(before, path, dest, exclude=exclude, names=names, progress=progress)
        return Applied("tree", sum(entry.size for entry in listing.entries), listing.digest.hex())
    mode = os.stat(before).st_mode & 0o777
    inputs, hasher = [before, path], images.hasher
    with open_output(new, force=force, inputs=inputs, verify=True, hasher=hasher, mode=mode) as output:
        applied = _apply_image(before, path, output.write, progress)
    return Applied("image", applied.size, applied.sha256.hex())


def prove(
    delta: PathLike,
    *,
    old: PathLike | None = None,
    new: PathLike | None = None,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Prove a delta by ``old``, by ``new``, or by both; returns in words what is then known.

    With ``old`` it is applied and the result, which is not kept, compared with what the delta promises;
    with ``new`` the promise is compared with that. Raises as ``apply``; ``DigestError`` if ``new`` is not
    what the delta makes.
    """
    path = plain_path(delta)
    if old is None and new is None:
        raise UsageError(
            f"{str(path)!r} is a delta: it carries no signature",
            hint="give --old, --new, or both: it is proved by applying it",
        )
    kind = delta_kind(path, *(plain_path(side) for side in (old, new) if side is not None))
    known = []
    if old is not None:
        known.append(_prove_by_old(path, plain_path(old), kind, progress))
    if new is not None:
        known.append(_prove_by_new(path, plain_path(new), kind))
    return tuple(known)


def delta_kind(delta: PathLike, *sides: PathLike) -> DeltaKind:
    """Which delta a file is. Raises ``DocumentTypeError`` if none, ``UsageError`` if a side does not fit."""
    kind = kind_of(delta)
    if kind not in ("image delta", "tree delta"):
        raise DocumentTypeError(f"{str(delta)!r} is a {kind}, not a delta", path=str(delta), kind=kind)
    for side in sides:
        directory = is_directory(side)
        if directory != (kind == "tree delta"):
            fits, found = ("directories", "a file") if kind == "tree delta" else ("files", "a directory")
            raise UsageError(
                f"{str(delta)!r} is a delta between {fits}, {str(side)!r} is {found}",
                hint=f"give one of the {fits} that it was made from",
                path=str(side),
            )
    return kind


# ---- which kind, how large, which digests ----------------------------------------------------------------


def _kind_between(old: str, new: str) -> DeltaKind:
    directory = is_directory(old)
    if directory != is_directory(new):
        one, other = (old, new) if directory else (new, old)
        raise UsageError(
            f"{str(one)!r} is a directory and {str(other)!r} is a file",
            hint="give two files, or two directories",
            directory=str(one),
            file=str(other),
        )
    return "tree delta" if directory else "image delta"


def _digests(delta: ByteSource, kind: DeltaKind) -> tuple[str, str]:
    """The digests of both sides that a delta names, hexadecimal."""
    if kind == "image delta":
        pair = images.inspect(delta.read_at(0, delta.size())).header.digests or (b"", b"")
    else:
        from deltaseal import trees

        info = trees.inspect(delta)
        pair = (info.old_digest, info.new_digest)
    return pair[0].hex(), pair[1].hex()


def _size(path: str) -> int:
    """Bytes of a file, or of all files in a directory."""
    if not is_directory(path):
        return os.stat(path).st_size
    from deltaseal.storage import walk

    disk = RealDisk()
    with disk.open_root(path) as top:
        return sum(found.stat.size for found in walk(disk, top) if found.stat.kind == "file")


def _image_progress(progress: Progress | None, new: str) -> Callable[[int], bool] | None:
    if progress is None:
        return None
    total = os.stat(new).st_size

    def advance(step: int) -> bool:
        progress(total * step // _STEPS, total)
        return True

    return advance


# ---- applying, and what became of it ---------------------------------------------------------------------


def _apply_image(
    old: str, delta: str, sink: Callable[[memoryview], None], progress: Progress | None
) -> images.AppliedImage:
    with FileSource(delta) as source:
        data = source.read_at(0, source.size())
    total = images.inspect(data).header.new_size
    done = 0

    def take(piece: memoryview) -> None:
        nonlocal done
        sink(piece)
        done += len(piece)
        if progress:
            progress(done, total)

    return images.apply(old, data, take)


def _apply_tree(
    old: str,
    delta: str,
    dest: Dir,
    *,
    exclude: Collection[str] = (),
    names: trees.Names = "sensitive",
    progress: Progress | None,
) -> trees.Listing:
    from deltaseal import trees

    disk = RealDisk()
    with FileSource(delta) as source, disk.open_root(old) as top:
        listing = trees.scan(disk, top, exclude=exclude, names=names)
        return trees.apply(disk, top, source, dest, listing=listing, names=names, progress=progress)


def _prove_by_old(delta: str, old: str, kind: DeltaKind, progress: Progress | None) -> str:
    if kind == "image delta":
        applied = _apply_image(old, delta, lambda piece: None, progress)
        return f"applied to {str(old)!r} it gives {applied.size:,} bytes, SHA-256 {applied.sha256.hex()}"
    import tempfile

    with tempfile.TemporaryDirectory(prefix="deltaseal-") as scratch, RealDisk().open_root(scratch) as dest:
        listing = _apply_tree(old, delta, dest, progress=progress)
    entries = f"{len(listing.entries):,} entries"
    return f"applied to {str(old)!r} it gives {entries}, tree digest {listing.digest.hex()}"


def _prove_by_new(delta: str, new: str, kind: DeltaKind) -> str:
    with FileSource(delta) as source:
        promised = _digests(source, kind)[1]
    found = _digest(new)
    if not promised or not found.startswith(promised):
        raise DigestError(
            f"{str(new)!r} is not what the delta makes: its digest is {found}, "
            f"the delta promises {_shown(promised, kind) if promised else 'none'}",
            hint="it is another version, or one of the two was changed",
            expected=promised,
            found=found,
        )
    return f"what it promises is {str(new)!r}, digest {found}"


def _shown(digest: str, kind: DeltaKind) -> str:
    """With a sign that it goes on, where a delta holds its beginning only."""
    return digest + "…" if kind == "image delta" else digest


def _digest(path: str) -> str:
    """SHA-256 of a file, tree digest of a directory; hexadecimal."""
    if is_directory(path):
        from deltaseal import trees

        disk = RealDisk()
        with disk.open_root(path) as top:
            return trees.scan(disk, top).digest.hex()
    hasher = images.hasher()
    with FileSource(path) as source:
        for piece in chunks(source):
            hasher.update(piece)
    return hasher.digest().hex()
