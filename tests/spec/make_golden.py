"""Makes the golden deltas and the fuzz seeds of deltas anew: `./dev golden`.

With ``--images`` the golden images too, which needs gcc and binutils for x86-64, clang, and LLVM's linkers,
version 16 or later (``clang``, ``ld.lld`` and ``ld64.lld``, or those named by CC, LD and LD64).

For each pair in ``golden/``: NAME.old, NAME.new, NAME.delta, NAME.best (effort best), and NAME.streams,
a line for each raw stream (number, size, SHA-256), so that a changed decision shows in a diff. Goldens change
only with the format's revision or with what the creator chooses; that an old one no longer applies is a new
revision.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.image_delta import Block, Delta, Frame, rle_frame
from support.image_delta import plain as plain_delta
from support.small_macho import make_functions, padded, program

from deltaseal import _core, images
from deltaseal.images.compressing import compress

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/spec/golden"
SEED_MAX = 4096
SEEDS_TOO = ("x86-64", "aarch64", "mach-o", "renamed", "padded")  # of the golden pairs
# Seeds in the second coding too.
MODELLED = ("packed", "packed-told", "lazy", "arm64", "listed", "joined", *SEEDS_TOO)
PAIRS = ("plain", "x86-64", "aarch64", "mach-o", "mach-o-arm64", "packed", "renamed", "padded")
GCC = ("gcc", "-shared", "-fPIC", "-O2", "-s", "-nostdlib", "-Wl,--build-id=sha1", "-Wl,-z,noseparate-code")
TOOLS = (("CC", "clang"), ("LD", "ld.lld"), ("LD64", "ld64.lld"))
AARCH64 = ("--target=aarch64-linux-gnu", "-fPIC", "-O2", "-funwind-tables", "-c")
AARCH64_LINK = ("-shared", "-s", "--build-id=sha1", "-z", "max-page-size=4096", "-z", "noseparate-code")
MACH_O = ("-O2", "-c")
MACH_O_LINK = ("-platform_version", "macos", "11.0", "11.0", "-dylib", "-fixup_chains")
MACH_O_LINK += ("-install_name", "@rpath/small.dylib", "-adhoc_codesign", "-undefined", "dynamic_lookup")
STUB = """--- !tapi-tbd
tbd-version: 4
targets: [ x86_64-macos, arm64-macos ]
install-name: '/usr/lib/libSystem.B.dylib'
exports:
  - targets: [ x86_64-macos, arm64-macos ]
    symbols: [ dyld_stub_binder ]
...
"""


def streams(old: bytes, new: bytes, *, plain: bool) -> str:
    """The raw streams that the creator makes, as text."""
    creation = _core.create(old, new, memory_bytes=1 << 30, plain=plain)
    lines = []
    for number in range(_core.STREAM_COUNT):
        raw = creation.stream(number)
        lines.append(f"{number} {len(raw)} {hashlib.sha256(raw).hexdigest()}\n")
    return "".join(lines)


def link_small(folder: Path, version: int, name: str) -> None:
    """The images that lld links."""
    compiled, stub = folder / "small.o", folder / "libSystem.tbd"
    stub.write_text(STUB)
    clang, elf, macho = (os.environ.get(*named) for named in TOOLS)
    commands = [("aarch64", [clang, *AARCH64], [elf, *AARCH64_LINK, compiled])]
    for pair, arch in (("mach-o", "x86_64"), ("mach-o-arm64", "arm64")):
        compiler = [clang, f"--target={arch}-apple-macos11", *MACH_O]
        commands.append((pair, compiler, [macho, "-arch", arch, *MACH_O_LINK, compiled, stub]))
    for pair, compiler, command in commands:
        output = GOLDEN / f"{pair}.{name}"
        subprocess.run([*compiler, f"-DVERSION={version}", "-o", compiled, GOLDEN / "small.c"], check=True)
        subprocess.run([*command, "-o", output], check=True)
        output.chmod(0o644)


def add_section(image: Path, name: str, content: bytes, output: Path) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        subprocess.run(["objcopy", "--add-section", f"{name}={file.name}", image, output], check=True)
    output.chmod(0o644)


def mangled(crates: Sequence[str], numbers: Iterable[int]) -> bytes:
    """Names as a Rust compiler makes them, of two crates."""
    names = (f"_RNvNtCs{crates[n % 3 == 0]}_4part{n * n % 89}call" for n in numbers)
    return "\0".join(names).encode()


def make_images() -> None:
    for version, name in ((1, "old"), (2, "new")):
        output = GOLDEN / f"x86-64.{name}"
        subprocess.run([*GCC, f"-DVERSION={version}", "-o", output, GOLDEN / "small.c"], check=True)
        output.chmod(0o644)
        with tempfile.TemporaryDirectory() as folder:
            link_small(Path(folder), version, name)
    source = (GOLDEN / "small.c").read_bytes()
    for name, text in (("old", source), ("new", source.replace(b"counters", b"tallies", 5))):
        packed = gzip.compress(text, mtime=0)
        add_section(GOLDEN / f"x86-64.{name}", ".assets", packed, GOLDEN / f"packed.{name}")
    for name, crates, first in (
        ("old", ("ghnUbbCfRE2", "1vWRWKdVlh7"), 0),
        ("new", ("i1HTDsDXWYj", "7MpWdNTwp7n"), 5),
    ):
        names = mangled(crates, range(first, 60))
        add_section(GOLDEN / f"x86-64.{name}", ".names", names, GOLDEN / f"renamed.{name}")
    for name, image in zip(("old", "new"), padded_images(), strict=True):
        (GOLDEN / f"padded.{name}").write_bytes(image)
    (GOLDEN / "plain.old").write_bytes(source)
    (GOLDEN / "plain.new").write_bytes(
        source[900:] + b"/* moved */\n" + source[:900].replace(b"count", b"tally")
    )


def padded_images() -> tuple[bytes, bytes]:
    """Aligned functions, and the next, of which some have a word more."""
    functions = make_functions(6, 40)
    more = [body[:8] + body[4:] if at % 9 == 4 else body for at, body in enumerate(functions)]
    return program(padded(functions), text=512), program(padded(more), text=512)


def packed_next(old: bytes, *, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    """What became of two bytes of the first stream, in a file with other bytes in front."""
    content = zlib.decompressobj().decompress(old[1:]).replace(b"a", b"o", 2)
    encoder = zlib.compressobj(9, zlib.DEFLATED, 15, 8, strategy)
    return b"in front" + encoder.compress(content) + encoder.flush()


def listed_images() -> tuple[bytes, bytes, bytes]:
    """A small signed image with a list of function starts; the next, for which functions come, go and change
    places; and one for which they only changed places."""
    functions, more = make_functions(1, 30), make_functions(2, 2)
    moved = [*functions[1::2], *functions[::2]]
    after = [*moved[:9], more[0], *moved[10:22], more[1], *moved[22:]]
    first, second, third = (program(each, text=512, signed=True) for each in (functions, after, moved))
    return first, second, third


def apart(old: bytes, new: bytes, raw: list[bytes], context: bytes = b"") -> Delta:
    """Each stream in its own frame, code behind its context if one is given; small deltas have neither."""
    stored = [
        compress(each, context if number == _core.CONTEXT_STREAM else b"") if each else b""
        for number, each in enumerate(raw)
    ]
    frames = [Frame(number, each, not each) for number, each in enumerate(stored)]
    return Delta(old, len(new), dict(enumerate(raw)), frames, flags=4 if context else 0)


def make_seeds() -> None:
    """Deltas of the fuzz target's old images, raw and as they are compressed, and a few that are refused."""
    folder, sources = ROOT / "native/fuzz/seeds/delta", ROOT / "native/fuzz/seeds/image"
    listed, listed_next, listed_moved = listed_images()
    (sources / "listed.dylib").write_bytes(listed)
    words = bytes((n * n >> 5) & 255 for n in range(4096))
    lazy, arm64, classic = (
        (sources / name).read_bytes() for name in ("lazy.so", "arm64.so", "classic.dylib")
    )
    packed = (ROOT / "native/fuzz/seeds/deflate/wrapped.zlib").read_bytes()
    pairs = {
        "packed": (packed, packed_next(packed)),
        "packed-told": (packed, packed_next(packed, strategy=zlib.Z_FIXED)),
        "words": (words, words[1000:2000] + b"literals" + words[:900].replace(b"\7", b"\x08")),
        "words-equal": (words, words),
        "lazy": (lazy, lazy[:700] + bytes(16) + lazy[700:2000].replace(b"\x48", b"\x49")),
        "lazy-equal": (lazy, lazy),
        "lazy-to-another": (lazy, (sources / "throws.so").read_bytes()),
        "arm64": (arm64, arm64[:300] + bytes(8) + arm64[300:]),
        "classic": (classic, classic[:9000] + bytes(64) + classic[9000:12000]),
        "classic-signed": (classic, (sources / "classic.dylib").read_bytes()[:-40] + bytes(40)),
    }
    throws, x86_64 = (sources / "throws.so").read_bytes(), (GOLDEN / "x86-64.old").read_bytes()
    pairs |= {
        "listed": (listed, listed_next),
        "listed-moved": (listed, listed_moved),
        "throws": (throws, throws[:700] + bytes(32) + throws[700:].replace(b"\x48", b"\x49", 9)),
        "joined": (throws + x86_64, (GOLDEN / "x86-64.new").read_bytes()),
        "assets": ((GOLDEN / "packed.old").read_bytes(), (GOLDEN / "packed.new").read_bytes()),
    }
    for name in SEEDS_TOO:
        pairs[name] = (GOLDEN / f"{name}.old").read_bytes(), (GOLDEN / f"{name}.new").read_bytes()
    for path in folder.iterdir():
        path.unlink()
    for name, (old, new) in pairs.items():
        parts = [len(throws), len(x86_64)] if name == "joined" else []
        delta = images.diff_bytes(old, new, digests=False, parts=parts)
        plain = images.inspect(delta).header.plain
        creation = _core.create(old, new, memory_bytes=1 << 30, plain=plain, parts=parts)
        raw = [bytes(creation.stream(number)) for number in range(_core.STREAM_COUNT)]
        flags = 2 if plain else 0
        one_frame = Delta(old, len(new), dict(enumerate(raw)), flags=flags)
        if len(bytes(one_frame)) < SEED_MAX and not parts:
            (folder / f"good-{name}").write_bytes(bytes(one_frame))
        if len(delta) < SEED_MAX and delta != bytes(one_frame):
            (folder / f"good-{name}-zstd").write_bytes(delta)
        if name == "x86-64":
            (folder / f"good-{name}-apart").write_bytes(bytes(apart(old, new, raw)))
            (folder / f"good-{name}-context").write_bytes(
                bytes(apart(old, new, raw, creation.code_parts()[0].context))
            )
        if name in MODELLED:
            modelled = images.diff_bytes(old, new, effort="best", digests=False, parts=parts)
            (folder / f"good-{name}-modelled").write_bytes(modelled)
    good = plain_delta(words, 20, [Block(0, 5, 0), Block(5, 10, 24)], data=b"12345")
    (folder / "good-by-hand").write_bytes(bytes(good))
    (folder / "bad-length").write_bytes(bytes(plain_delta(words, 20, [Block(0, 21, 0)])))
    (folder / "bad-empty").write_bytes(b"")
    (folder / "bad-literals").write_bytes(bytes(plain_delta(words, 20, [Block(0, 5, 0)], data=b"12345")))
    (folder / "bad-bomb").write_bytes(
        bytes(Delta(b"", 1 << 20, {}, [Frame(0, rle_frame(1 << 22, window_log=17), False)], {5: 1 << 22}))
    )


def main() -> None:
    make_seeds()
    if "--images" in sys.argv[1:]:
        make_images()
    for name in PAIRS:
        old, new = (GOLDEN / f"{name}.old").read_bytes(), (GOLDEN / f"{name}.new").read_bytes()
        delta = images.diff_bytes(old, new)
        (GOLDEN / f"{name}.delta").write_bytes(delta)
        (GOLDEN / f"{name}.best").write_bytes(images.diff_bytes(old, new, effort="best"))
        plain = images.inspect(delta).header.plain
        (GOLDEN / f"{name}.streams").write_text(streams(old, new, plain=plain))


if __name__ == "__main__":
    main()
