"""The client of this package behind the command line that TUF's conformance suite speaks (its CLIENT-CLI.md).

    pytest tuf_conformance --entrypoint "PYTHON tests/support/conformance_client.py"

It calls the same module that devices call, with the policy that asks nothing beyond TUF.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from deltaseal.repo import client
from deltaseal.repo.http import HttpTransport
from deltaseal.repo.trusted import PLAIN_TUF
from deltaseal.storage import ByteSource

LIMIT = 10 << 20  # bytes of an artifact


@dataclass
class TwoPlaces:
    """Metadata at one URL, targets at another."""

    urls: dict[str, HttpTransport]
    name: str = "the suite's server"

    def _at(self, name: str) -> tuple[HttpTransport, str]:
        place, _, rest = name.partition("/")
        return self.urls[place], rest

    def stream(self, name: str, limit: int) -> Iterator[bytes]:
        transport, rest = self._at(name)
        return transport.stream(rest, limit)

    def read(self, name: str, limit: int) -> bytes:
        return b"".join(self.stream(name, limit))

    def open(self, name: str) -> ByteSource:
        transport, rest = self._at(name)
        return transport.open(rest)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def refresh(metadata_dir: Path, urls: dict[str, str], targets: list[str], target_dir: Path | None) -> int:
    kept = files_in(target_dir) if target_dir else {}
    wanted = [client.Wanted(path, f"target {quote(path, '')}", LIMIT) for path in targets]
    had = files_in(metadata_dir)
    known = {f"target {name}": data for name, data in kept.items()}
    transport = TwoPlaces({place: HttpTransport(url) for place, url in urls.items()})
    done = client.refresh(
        transport, {**had, **known}, wanted=wanted, now=lambda files: int(time.time()), policy=PLAIN_TUF
    )
    for name, data in done.files.items():
        if name.startswith("target "):
            place = target_dir / name.removeprefix("target ")
            if kept.get(place.name) != data:
                place.write_bytes(data)
        elif had.get(name) != data:
            (metadata_dir / name).write_bytes(data)
    for name in had.keys() - done.files.keys():
        (metadata_dir / name).unlink()
    if done.failure is not None:
        print(f"{done.failure.reason}: {done.failure.sentence}", file=sys.stderr)
        return 1
    missing = [each.path for each in wanted if each.keep_as not in done.files]
    if missing:
        print(f"not in the repository: {missing}", file=sys.stderr)
    return 1 if missing else 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url")
    parser.add_argument("--target-name", action="append", default=[])
    parser.add_argument("--target-dir", type=Path)
    parser.add_argument("--target-base-url")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("init").add_argument("trusted_root", type=Path)
    verbs.add_parser("refresh")
    verbs.add_parser("download")
    given = parser.parse_args()
    if given.verb == "init":
        shutil.copyfile(given.trusted_root, given.metadata_dir / "root.json")
        return 0
    urls = {"metadata": given.metadata_url}
    if given.target_base_url:
        urls["targets"] = given.target_base_url
    return refresh(given.metadata_dir, urls, given.target_name, given.target_dir)


if __name__ == "__main__":
    sys.exit(main())
