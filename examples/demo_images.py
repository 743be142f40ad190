"""Where the demonstration's images come from: public wheels, or a small library compiled on the spot.

Either way the result is seven trees, each a folder with one component, ``app``:

    mac, mac-fixed       what the Macs run, before and after
    neo                  the Neo's own bytes, one version older; it becomes mac-fixed
    phone, phone-fixed   what iPhones and iPads run, before and after
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Images", "arm64_slice", "get_images"]

LIBRARY = Path(__file__).parent / "demo-library"
NEO, OLD, FIXED = "6.1.1", "6.1.2", "6.1.3"  # of lxml, and releases 1, 2, 3 of the library


@dataclass(frozen=True, slots=True)
class Images:
    """The trees, and the one large image that is in all of them."""

    trees: Path
    image: str  # its path below a tree
    origin: str  # in words

    def tree(self, name: str) -> Path:
        """The folder of a tree: it holds the component ``app``."""
        return self.trees / name

    def image_of(self, name: str) -> Path:
        """The large image of a tree."""
        return self.trees / name / self.image


def get_images(trees: Path, downloads: Path, *, offline: bool, say: Callable[[str], None]) -> Images:
    """Fetch or compile the images, and lay the trees out in the empty folder ``trees``."""
    if not offline:
        try:
            wheels = {version: fetch_wheel(version, downloads) for version in (NEO, OLD, FIXED)}
            return _from_wheels(wheels, trees)
        except OSError as error:
            say(f"no network ({error}): compiling a small library in three versions instead")
    return _from_library(trees)


# ---- real images: the macOS wheels of lxml ---------------------------------------------------------------


def fetch_wheel(version: str, downloads: Path) -> Path:
    """One wheel of lxml for macOS, from the package index that pip uses; kept for the next run."""
    found = sorted(downloads.glob(f"lxml-{version}-*.whl"))
    if found:
        return found[0]
    asked = ["--no-deps", "--only-binary=:all:", "--platform", "macosx_10_13_universal2"]
    python = ["--implementation", "cp", "--python-version", "3.13", "--abi", "cp313"]
    patience = ["--disable-pip-version-check", "-q", "--retries", "1", "--timeout", "15"]
    pip = [sys.executable, "-m", "pip", "download", *patience, *asked, *python, "-d", str(downloads)]
    done = subprocess.run(
        [*pip, f"lxml=={version}"], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        raise OSError(f"pip could not download lxml {version}")
    return next(iter(downloads.glob(f"lxml-{version}-*.whl")))


def _from_wheels(wheels: dict[str, Path], trees: Path) -> Images:
    for name, version in (("neo", NEO), ("mac", OLD), ("mac-fixed", FIXED)):
        with zipfile.ZipFile(wheels[version]) as wheel:
            wheel.extractall(trees / name / "app")
    for name, universal in (("phone", "mac"), ("phone-fixed", "mac-fixed")):
        shutil.copytree(trees / universal, trees / name)
        for image in sorted((trees / name).rglob("*.so")):
            image.write_bytes(arm64_slice(image.read_bytes()))
    words = f"lxml {OLD} and {FIXED} for macOS (the Neo: {NEO}), universal Mach-O with a signed arm64 slice"
    return Images(trees, "app/lxml/etree.cpython-313-darwin.so", words)


def arm64_slice(image: bytes) -> bytes:
    """The arm64 part of a universal Mach-O image; any other file as it is.

    A universal file begins with its magic number and a count, then for each architecture five big-endian
    numbers of 32 bits: type, subtype, offset, size, alignment (Apple, mach-o/fat.h).
    """
    universal, arm64 = 0xCAFEBABE, 0x0100000C
    magic, count = struct.unpack_from(">II", image) if len(image) >= 8 else (0, 0)
    if magic != universal:
        return image
    for number in range(count):
        kind, _, offset, size, _ = struct.unpack_from(">5I", image, 8 + 20 * number)
        if kind == arm64:
            return image[offset : offset + size]
    raise ValueError("a universal image without an arm64 part")


# ---- the embedded default: a small library, compiled -----------------------------------------------------


def _from_library(trees: Path) -> Images:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("there is neither a network nor a C compiler: `./dev setup` installs one")
    for name, release, flags in (
        ("neo", 1, "-O2"),
        ("mac", 2, "-O2"),
        ("mac-fixed", 3, "-O2"),
        ("phone", 2, "-Os"),
        ("phone-fixed", 3, "-Os"),
    ):
        _lay_out(trees / name / "app", release)
        target = trees / name / "app" / "lib" / "liborigin.so"
        build = [compiler, "-std=c11", "-fPIC", "-shared", flags, f"-DRELEASE={release}", "-o", str(target)]
        subprocess.run([*build, str(LIBRARY / "origin.c")], check=True)
    return Images(trees, "app/lib/liborigin.so", "a small library, releases 2 and 3 (the Neo: 1)")


def _lay_out(app: Path, release: int) -> None:
    """The files beside the library: some stay, some change, and one moves with each release."""
    files = {
        "include/origin.h": (LIBRARY / "origin.h").read_text(),
        "share/release": f"{release}\n",
        f"share/notes-{release}.txt": (LIBRARY / "origin.c").read_text(),
        "share/schemes.txt": "".join(f"{name}\n" for name in ("http", "https", "ws", "wss", "ftp", "ssh")),
    }
    for name, text in files.items():
        path = app / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (app / "lib").mkdir()
