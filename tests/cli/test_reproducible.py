"""The same bundle, signatures apart, wherever, whenever and however it is built."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

from support.command import must

from .conftest import RELEASE, build

COMMAND = (sys.executable, "-c", "from deltaseal.cli import main; main()")
GOLDEN = Path(__file__).parents[1] / "spec" / "golden"
EPOCH = "1773705600"  # 2026-03-17, seconds since 1970
GOLDEN_OF = {"was": "old", "becomes": "new"}
LARGE = 9 << 19  # bytes: matched in several ranges, so that threads have something to share
# Names that sort differently by bytes, by case, and by the rules of a language.
NAMES = ("B", "a", "ä", "Z", "i", "İ", "lib/engine", "lib-more")


def fill(folder: Path, *, backwards: bool) -> None:
    """Both trees; their files are made in one order or the other, and at another time."""
    chance = random.Random(1)
    old = b"".join(chance.randbytes(48) + bytes(976) for _ in range(LARGE >> 10))  # quick to compress
    new = old[: LARGE // 3] + b"fixed" + old[LARGE // 3 : LARGE - 900] + chance.randbytes(900)
    for side, large in (("was", old), ("becomes", new)):
        contents = {name: f"{name} of {side}".encode() for name in NAMES}
        contents["large.so"] = large
        contents["small.so"] = (GOLDEN / f"x86-64.{GOLDEN_OF[side]}").read_bytes()
        for n, name in enumerate(sorted(contents, reverse=backwards)):
            path = folder / side / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents[name])
            os.utime(path, (n, n))


def built(folder: Path, threads: int, **environment: str) -> bytes:
    """The bytes of an unsigned bundle, from a process of its own."""
    command = build("made.bundle", "--threads", str(threads), "--force")
    at = command.index("tree/app")
    command[at : at + 2] = ["was", "becomes"]
    subprocess.run(
        [*COMMAND, *command],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "SOURCE_DATE_EPOCH": EPOCH, **environment},
        check=True,
    )
    return (folder / "made.bundle").read_bytes()


def test_two_folders_locales_thread_counts_and_time_zones_give_one_bundle(here: Path, tmp_path: Path) -> None:
    folders = (here, tmp_path / "ein anderer Ordner" / "ü")
    for folder, backwards in zip(folders, (False, True), strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        fill(folder, backwards=backwards)
    facts = ("--os", "macos", "--version", "26.3.1", "--build", "25D2128", "--component", "app", "was")
    must("manifest", "base", *facts, *RELEASE, "-o", "macos.base", "--force")
    for name in ("macos.base", "trust.json", "fixes.toml"):
        (folders[1] / name).write_bytes(Path(name).read_bytes())
    bundles = [
        built(folders[0], 1, LC_ALL="C", TZ="UTC"),
        built(folders[0], 2, LC_ALL="C.UTF-8", TZ="Asia/Kathmandu"),
        built(folders[1], 1, LC_ALL="tr_TR.UTF-8", TZ="Pacific/Kiritimati"),
        built(folders[1], 3, LC_ALL="C.UTF-8", TZ="America/St_Johns", PYTHONHASHSEED="7"),
    ]
    assert len({hashlib.sha256(bundle).hexdigest() for bundle in bundles}) == 1
    # Signed twice it differs, since ML-DSA signatures are random; its digest and what is signed do not.
    for name in ("one", "two"):
        must("bundle", "sign", "made.bundle", *RELEASE, "-o", name)
    assert Path("one").read_bytes() != Path("two").read_bytes()
    digests = {must("inspect", name, "--json").json["digest"] for name in ("made.bundle", "one", "two")}
    assert len(digests) == 1
    must("bundle", "take-signatures", "one", "made.bundle", "-o", "again")
    assert Path("again").read_bytes() == Path("one").read_bytes()
