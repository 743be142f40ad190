"""``deltaseal inspect`` and ``deltaseal verify``: any file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from deltaseal.cli.app import App, pass_app
from deltaseal.cli.lazy import Command
from deltaseal.cli.options import PATH, json_option
from deltaseal.cli.progress import bar
from deltaseal.cli.words import count, moment, share

__all__ = ["inspect", "verify"]

Claims = dict[str, Any]

_SIGNED = ("bundle", "base", "bundle manifest", "device manifest", "catalogue")
_TIMES = ("issued", "expires")  # seconds since 1970 in documents: shown as dates too


@click.command(cls=Command)
@click.argument("file", type=PATH)
@click.option("--streams", is_flag=True, help="For a delta of images: every stream of it, and its frames.")
@click.option("--listing", is_flag=True, help="For a directory: its whole listing, as it is hashed.")
@json_option
@pass_app
def inspect(app: App, file: Path, streams: bool, listing: bool) -> None:
    """Say what FILE is and what is in it.

    Any file of deltaseal, told by how it begins: a delta, a bundle, a base, a device manifest, a catalogue, a
    request, a trust file, a key; or a directory, for its tree digest. Nothing of it is verified:
    `deltaseal verify` does that.
    """
    from deltaseal.verbs import inspection

    with bar(app, "looking"):
        found = inspection.inspect(file)
    claims = found.claims
    if found.kind == "tree" and not listing:
        claims = {name: value for name, value in claims.items() if name != "listing"}

    def lines() -> list[str]:
        show = _SHOWN.get(found.kind, _document)
        unverified = " (not verified)" if found.kind in _SIGNED else ""
        rest = _streams(claims) if streams and found.kind == "image delta" else iter(())
        return [f"{file}: {found.kind}{unverified}", *(f"  {line}" for line in [*show(claims), *rest])]

    app.report({**claims, "kind": found.kind}, lines)


@click.command(cls=Command)
@click.argument("file", type=PATH)
@click.option("--trust", type=PATH, metavar="FILE", help="The trust file that says whose signatures count.")
@click.option("--old", type=PATH, metavar="PATH", help="For a delta: what it was made from; it is applied.")
@click.option("--new", type=PATH, metavar="PATH", help="For a delta: what it must make.")
@json_option
@pass_app
def verify(app: App, file: Path, trust: Path | None, old: Path | None, new: Path | None) -> None:
    """Prove FILE, without a network: who signed it, and that every byte is what was signed.

    A bundle, base, device manifest or catalogue is held against --trust; of a bundle every payload is read.
    A delta is applied to --old, and what it makes is compared with what it promises and with --new.
    """
    from deltaseal.verbs import proof

    with bar(app, "verifying") as progress:
        proved = proof.verify(file, trust=trust, old=old, new=new, now=app.now, progress=progress)

    def lines() -> list[str]:
        signed = [f"  signed by {key}" for key in proved.signed_by]
        role = f", signed by {proved.role}" if proved.role else ""
        return [f"{file}: {proved.kind}{role}: good", *(f"  {line}" for line in proved.known), *signed]

    app.report({**proved.to_json(), "good": True}, lines)


# ---- how each kind is shown ------------------------------------------------------------------------------


def _image_delta(claims: Claims) -> Iterator[str]:
    size = claims["total_size"]
    yield f"size      {size:,} bytes, {share(size, claims['new_size'])} of the new image"
    for side in ("old", "new"):
        digest = claims[f"{side}_sha256_128"]
        yield f"{side}       {claims[f'{side}_size']:,} bytes" + (f", SHA-256 {digest}…" if digest else "")
    yield f"format    revision {claims['revision']}, {_coding(claims)}"


def _coding(claims: Claims) -> str:
    if claims["coding"] == "model":
        return f"model with a table of {claims['table'] / 4:g} MiB"
    return f"zstd {claims['zstd_version']}"


def _streams(claims: Claims) -> Iterator[str]:
    if claims["coding"] == "model":
        size = claims["modelled_size"]
        yield f"streams   none: the model codes every decision into one string of {size:,} bytes;"
        yield "          `deltaseal explain DELTA --old OLD` says what each kind of decision costs"
        return
    frames = claims["frames"]
    yield f"streams   {'name':<24} {'bytes':>12}   frame"
    for stream in claims["streams"]:
        yield f"          {stream['name']:<24} {stream['raw_size']:>12,}   {stream['frame']}"
    yield f"frames    {'number':<24} {'stored':>12}"
    for number, frame in enumerate(frames):
        how = "as they are" if frame["raw"] else "zstd"
        yield f"          {number:<24} {frame['size']:>12,}   {how}"


def _tree_delta(claims: Claims) -> Iterator[str]:
    yield f"size      {claims['size']:,} bytes, of them {claims['plan_bytes']:,} for the plan"
    yield f"old       tree digest {claims['old_digest']}"
    yield f"new       tree digest {claims['new_digest']}"
    yield f"format    revision {claims['revision']}, zstd {claims['zstd_version']}"
    actions = [change["action"] for change in claims["changes"]]
    counts = ", ".join(f"{actions.count(action)} {action}" for action in ("changed", "added", "removed"))
    yield f"changes   {counts}"
    for change in claims["changes"]:
        yield f"          {change['action']:<8} {change['path']}{_content(change, claims['groups'])}"


_ELSEWHERE = {"old": "  (content of another old file)", "built-copy": "  (content of another new file)"}


def _content(change: Claims, groups: list[Claims]) -> str:
    if change["group"] is None:
        return _ELSEWHERE.get(change["source"], "")
    group = groups[change["group"]]
    together = f", with {count(group['new_files'] - 1, 'other')}" if group["new_files"] > 1 else ""
    return f"  ({change['size']:,} bytes by {group['delta_bytes']:,} of {group['coding']}{together})"


def _tree(claims: Claims) -> Iterator[str]:
    yield f"digest    {claims['digest']}"
    kinds = ", ".join(f"{claims[kind]:,} {kind}" for kind in ("files", "directories", "links"))
    yield f"holds     {kinds}; {claims['bytes']:,} bytes"
    yield from claims.get("listing", ())


def _document(claims: Claims) -> Iterator[str]:
    yield from _nested(claims, "")


def _nested(values: Claims, pad: str) -> Iterator[str]:
    width = max(map(len, values), default=0)
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield f"{pad}{name}:"
            yield from _nested(value, pad + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"{pad}{name}:"
            for item in value:
                first, *rest = _nested(item, "")
                yield f"{pad}  - {first}"
                yield from (f"{pad}    {line}" for line in rest)
        else:
            yield f"{pad}{name:<{width}}  {_plain(name, value)}"


def _plain(name: str, value: Any) -> str:
    if isinstance(value, list | dict):
        return ", ".join(map(str, value)) or "none"
    if name in _TIMES and isinstance(value, int):
        return f"{moment(value)} ({value})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


_SHOWN: dict[str, Callable[[Claims], Iterator[str]]] = {
    "image delta": _image_delta,
    "tree delta": _tree_delta,
    "tree": _tree,
}
