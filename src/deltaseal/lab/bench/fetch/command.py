"""Fetch a corpus of pairs of old and new executable images.

Each pair of the list is taken from its public registry with the ordinary client (pip download, npm pack,
apt-get download) or from a URL, the one member is extracted, and its SHA-256 is checked. What comes out:

  DIR/<pair>/old   DIR/<pair>/new     a file each, or a directory each (kind "tree")

NAME is a pair's name, group, kind or architecture; without one, all pairs. A pair that is already there
with the right SHA-256 is left alone, so a second run downloads nothing.

The public list downloads about 740 MB of packages and leaves about 1,520 MB of pairs; Debian's package lists,
where a Debian pair is asked for, are up to 60 MB more. Packages are deleted once their members are out. The
Debian mirror is the one this machine's own apt uses; no root needed, the machine's apt state is not touched.
Debian's suites move on: a version that has gone is skipped with one line.

Exit codes: 0 all there; 1 something could not be had (0 with --allow-missing); 2 a wrong call; 3 what was
fetched has not the SHA-256 of the list.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from deltaseal.errors import DeltasealError
from deltaseal.lab.bench.corpus import PUBLIC, Pair, load_pairs, select
from deltaseal.lab.bench.fetch.run import Fetched, fetch

__all__ = ["default_corpus", "main"]


def default_corpus() -> Path:
    """The folder of pairs: DELTASEAL_CORPUS, else one in the cache of the user."""
    return Path(os.environ.get("DELTASEAL_CORPUS") or "~/.cache/deltaseal/corpus").expanduser()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    folder = (options.into or default_corpus()).absolute()
    try:
        pairs = select(load_pairs(options.pairs, folder), options.names)
    except DeltasealError as error:
        print(f"fetch: {error.sentence}", file=sys.stderr)
        return 2
    if options.list:
        print("\n".join(map(_line, pairs)))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the temporary folder goes
    result = fetch(pairs, folder, check=not options.hashes)
    _tell(result, folder, hashes=options.hashes)
    if result.wrong:
        return 3
    return 1 if result.missing and not options.allow_missing else 0


def _line(pair: Pair) -> str:
    licence = pair.origin.licence if pair.origin else ""
    sizes = f"{pair.old_bytes or '?':>12} {pair.new_bytes or '?':>12}"
    return f"{pair.name:24} {pair.group:9} {pair.kind:5} {pair.arch:10} {sizes}  {licence}".rstrip()


def _tell(result: Fetched, folder: Path, *, hashes: bool) -> None:
    if hashes:
        for (name, side), (digest, size) in result.digests.items():
            print(name, side, digest, size)
    for line in result.lines():
        print(line)
    good = result.pairs - len(result.missing | result.wrong)
    print(
        f"{good} of {result.pairs} pairs in {folder}, {result.fetched} fetched now "
        f"({round(result.bytes / 1e6)} MB of packages)"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fetch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME")
    add("--into", type=Path, metavar="DIR", help="else $DELTASEAL_CORPUS, else ~/.cache/deltaseal/corpus")
    add("--pairs", type=Path, default=PUBLIC, metavar="FILE", help="another list than the public one")
    add("--allow-missing", action="store_true", help="exit 0 though a pair could not be had")
    add("--hashes", action="store_true", help="print SHA-256 and size of what was fetched, check nothing")
    add("--list", action="store_true", help="print name, group, kind, architecture, sizes; fetch nothing")
    return parser
