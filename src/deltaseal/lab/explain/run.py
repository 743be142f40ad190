"""Explaining a delta: applied in the confined process first, which proves it and makes the new side."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from deltaseal import images, trees
from deltaseal.errors import DigestError, UsageError
from deltaseal.lab.explain.image import NamedBytes, explain_image
from deltaseal.lab.explain.kinds import CONTAINER
from deltaseal.lab.explain.report import Explanation, Share
from deltaseal.lab.explain.tree import explain_tree
from deltaseal.storage import FileSource, RealDisk
from deltaseal.verbs.deltas import apply, delta_kind
from deltaseal.verbs.kinds import is_directory

__all__ = ["explain"]


def explain(
    delta: Path,
    *,
    old: Path | None = None,
    new: Path | None = None,
    exclude: Collection[str] = (),
    names: trees.Names = "sensitive",
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """The account of a delta of an image or a directory. Its shares add up to its size.

    With ``old`` it is complete: the delta is applied to it, and ``new``, if given, must be what comes out.
    ``exclude`` and ``names`` are for directories, as when the delta was made. Without ``old`` only what the
    delta says of itself is known. Raises what ``apply`` raises, DigestError.
    """
    if old is None:
        if new is not None:
            raise UsageError("the new side alone explains nothing", hint="give --old")
        kind = delta_kind(delta)
        return _image_alone(delta) if kind == "image delta" else _tree_alone(delta)
    kind = delta_kind(delta, old)
    with tempfile.TemporaryDirectory(prefix="deltaseal-explain.") as folder:
        made = Path(folder, "new")
        applied = apply(old, delta, made, exclude=exclude, names=names, progress=progress)
        if new is not None:
            _compare(made, new, exclude, names)
        data = delta.read_bytes()
        coding = "tree"
        if kind == "image delta":
            shares, functions = explain_image(
                [NamedBytes("", old.read_bytes())], [NamedBytes("", made.read_bytes())], data
            )
            coding = _coding(data)
        else:
            with FileSource(delta) as source:
                found = trees.payloads(source, _listing(old, exclude, names))
            shares, functions = explain_tree(found, old, made)
        whole = Explanation(kind, len(data), applied.size, coding, tuple(shares), tuple(functions))
    spent = sum(share.bytes for share in whole.shares)
    if spent != whole.size:
        raise AssertionError(f"{spent} bytes are accounted for, the delta has {whole.size}")
    return whole


def _coding(data: bytes) -> str:
    return "streams" if images.inspect(data).header.modelled_size is None else "model"


def _listing(root: Path, exclude: Collection[str], names: trees.Names) -> trees.Listing:
    disk = RealDisk()
    with disk.open_root(root) as top:
        return trees.scan(disk, top, exclude=exclude, names=names)


def _compare(made: Path, new: Path, exclude: Collection[str], names: trees.Names) -> None:
    if is_directory(new):
        same = _listing(made, (), names).digest == _listing(new, exclude, names).digest
    else:
        same = made.read_bytes() == new.read_bytes()
    if not same:
        raise DigestError(f"the delta does not make {str(new)!r} of the old side", path=str(new))


# ---- without the old side ----------------------------------------------------------------------

_ALONE = (
    "without --old only streams are known; those of one frame are split by their raw bytes",
    "without --old files of one payload are split by their sizes",
)


def _image_alone(delta: Path) -> Explanation:
    data = delta.read_bytes()
    info = images.inspect(data)
    header = info.header
    shares = [Share("", "(container)", "", "header", CONTAINER, header.header_size)]
    if header.modelled_size is not None:
        shares.append(Share("", "(model)", "", "model", "all decisions", header.modelled_size))
    for frame, size in enumerate(header.frame_sizes):
        streams = {(n,): s.raw_size for n, s in enumerate(info.streams) if s.frame == frame}
        if not any(streams.values()):
            streams[min(streams)] = 1
        for (number,), part in images.split(size, streams).items():
            name = info.streams[number].name
            shares.append(Share("", "(streams)", "", name, "all decisions", part))
    return Explanation(
        "image delta",
        len(data),
        header.new_size,
        _coding(data),
        tuple(shares),
        complete=False,
        notes=_ALONE[:1],
    )


def _tree_alone(delta: Path) -> Explanation:
    with FileSource(delta) as source:
        info = trees.inspect(source)
    shares = [
        Share(
            "", "(plan)", "", "plan", CONTAINER, info.size - sum(group.delta_bytes for group in info.groups)
        )
    ]
    for number, group in enumerate(info.groups):
        files = [change for change in info.changes if change.group == number]
        weights = {(n,): change.size for n, change in enumerate(files)}
        if not any(weights.values()):
            weights[(0,)] = 1
        for (n,), part in images.split(group.delta_bytes, weights).items():
            path = trees.show(files[n].path)
            shares.append(Share(path, "(payload)", "", group.coding, "all decisions", part))
    return Explanation(
        "tree delta",
        info.size,
        sum(change.size for change in info.changes),
        "tree",
        tuple(shares),
        complete=False,
        notes=_ALONE[1:],
    )
