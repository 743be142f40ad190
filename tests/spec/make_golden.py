"""Makes the golden deltas anew: `./dev golden`. With ``--images`` the images too, which needs gcc for x86-64.

For each pair in ``golden/``: NAME.old, NAME.new, NAME.delta, and NAME.streams, a line for each raw stream
(number, size, SHA-256), so that a changed decision shows in a diff. Goldens change only with the format's
revision or with what the creator chooses; that an old one no longer applies is a new revision.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from deltaseal import _core, images

GOLDEN = Path(__file__).resolve().parent / "golden"
PAIRS = ("plain", "x86-64")
GCC = ("gcc", "-shared", "-fPIC", "-O2", "-s", "-nostdlib", "-Wl,--build-id=sha1", "-Wl,-z,noseparate-code")


def streams(old: bytes, new: bytes, *, plain: bool) -> str:
    """The raw streams that the creator makes, as text."""
    creation = _core.create(old, new, memory_bytes=1 << 30, plain=plain)
    lines = []
    for number in range(_core.STREAM_COUNT):
        raw = creation.stream(number)
        lines.append(f"{number} {len(raw)} {hashlib.sha256(raw).hexdigest()}\n")
    return "".join(lines)


def make_images() -> None:
    for version, name in ((1, "old"), (2, "new")):
        output = GOLDEN / f"x86-64.{name}"
        subprocess.run([*GCC, f"-DVERSION={version}", "-o", output, GOLDEN / "small.c"], check=True)
        output.chmod(0o644)
    source = (GOLDEN / "small.c").read_bytes()
    (GOLDEN / "plain.old").write_bytes(source)
    (GOLDEN / "plain.new").write_bytes(
        source[900:] + b"/* moved */\n" + source[:900].replace(b"count", b"tally")
    )


def main() -> None:
    if "--images" in sys.argv[1:]:
        make_images()
    for name in PAIRS:
        old, new = (GOLDEN / f"{name}.old").read_bytes(), (GOLDEN / f"{name}.new").read_bytes()
        delta = images.diff_bytes(old, new)
        (GOLDEN / f"{name}.delta").write_bytes(delta)
        plain = images.inspect(delta).header.plain
        (GOLDEN / f"{name}.streams").write_text(streams(old, new, plain=plain))


if __name__ == "__main__":
    main()
