"""A tree delta: each payload accounted for by what it makes, the plan by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path

from deltaseal import images, trees
from deltaseal.lab.explain.image import NamedBytes, explain_image
from deltaseal.lab.explain.kinds import CONTAINER, RESOURCES
from deltaseal.lab.explain.report import FunctionCost, Share

__all__ = ["explain_tree"]

Read = Callable[[bytes], bytes]

_PREFIX_MAX = 1 << 24  # old bytes before a frame: docs/spec/tree.md, section 7


def explain_tree(found: trees.TreePayloads, old: Path, new: Path) -> tuple[list[Share], list[FunctionCost]]:
    """The shares and functions of a tree delta that makes ``new`` of ``old``."""
    shares = [Share("", "(plan)", "", "plan", CONTAINER, found.plan_bytes)]
    functions: list[FunctionCost] = []
    for payload in found.payloads:
        befores = [NamedBytes(trees.show(path), _read(old, path)) for path in payload.old]
        afters = [NamedBytes(trees.show(path), _read(new, path)) for path, _ in payload.new]
        if payload.coding == "image":
            made, costly = explain_image(befores, afters, payload.data)
            shares += [_owned(share, afters) for share in made]
            functions += costly
        else:
            shares += _plain(payload, befores, afters)
    return shares, sorted(functions, key=lambda f: (-f.bytes, f.file, f.address))


def _read(root: Path, path: bytes) -> bytes:
    return Path(root, *(part.decode("utf-8", "surrogateescape") for part in path.split(b"/"))).read_bytes()


def _owned(share: Share, files: Sequence[NamedBytes]) -> Share:
    """The container of an image delta belongs to the first file it makes."""
    if share.file:
        return share
    return Share(files[0].name, share.section, share.item, share.stream, share.kind, share.bytes)


def _plain(
    payload: trees.Payload, befores: Sequence[NamedBytes], afters: Sequence[NamedBytes]
) -> list[Share]:
    """A frame of whole files: split by what an adaptive model says of each, behind the same old bytes."""
    sizes = [len(file.data) for file in afters]
    if payload.coding == "raw":
        parts = sizes
    else:
        parts = _split(
            payload, b"".join(file.data for file in befores), b"".join(f.data for f in afters), sizes
        )
    return [
        Share(file.name, "(whole file)", "", payload.coding, RESOURCES, size)
        for file, size in zip(afters, parts, strict=True)
    ]


def _split(payload: trees.Payload, prefix: bytes, data: bytes, sizes: Sequence[int]) -> list[int]:
    starts = list(accumulate(sizes, initial=0))[:-1]
    bounds = sorted(set(starts))  # an empty file is no piece
    costs = dict(zip(bounds, images.price(data, prefix[-_PREFIX_MAX:], bounds), strict=True))
    weights = {
        (n,): costs[start] if size else 0 for n, (start, size) in enumerate(zip(starts, sizes, strict=True))
    }
    if not any(weights.values()):
        weights[(0,)] = 1
    shares = images.split(len(payload.data), weights)
    return [shares[(n,)] for n in range(len(sizes))]
