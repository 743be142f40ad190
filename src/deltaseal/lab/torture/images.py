"""Small trees for the built-in scenario: one image with code, and every way in which a file may change."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

__all__ = ["COMPONENTS", "write_trees"]

COMPONENTS = ("app", "os")
_FUNCTIONS = 120  # in the image; each calls two others
_X86_64, _PROGBITS, _STRTAB, _CODE = 62, 1, 3, 6  # System V ABI: e_machine, sh_type, sh_flags


def write_trees(root: Path, component: str, version: int) -> Path:
    """Write one version of a component below ``root``, return its directory.  Version 0 is the baseline."""
    top = root / f"{component}-{version}"
    for name, content in _files(component, version).items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (top / "bin" / "browser").chmod(0o755)
    (top / "lib" / "current").symlink_to("engine.so")
    return top


def _files(component: str, version: int) -> dict[str, bytes]:
    noise = _noise(component, 3_000)
    notes = f"share/notes-{version}.txt"  # moves with each version, unchanged
    files = {
        "bin/browser": b"#!/bin/sh\n# %s %d\n" % (component.encode(), version) + noise[:200],
        "lib/engine.so": _image(component, version),
        "lib/codec.so": noise[::-1],
        "share/words.txt": b"words of %s\n" % component.encode() * 20 + b"version %d\n" % version,
        notes: noise[500:900],
    }
    if version:
        files["share/fresh.dat"] = _noise(f"{component} {version}", 700)
        files["share/twin.dat"] = files["share/fresh.dat"]
    else:
        files["share/gone.txt"] = b"leaves with the first improvement\n"
    return files


def _noise(seed: str, size: int) -> bytes:
    return hashlib.shake_256(seed.encode()).digest(size)


def _image(component: str, version: int) -> bytes:
    """An ELF image for x86-64 whose calls all move when a function grows."""
    bodies = [_noise(f"{component} function {number}", 24) for number in range(_FUNCTIONS)]
    for grown in range(version):  # each version makes one function longer
        bodies[5 + 7 * grown] += _noise(f"{component} fix {grown}", 16)
    starts, end = [], 0
    for body in bodies:
        starts.append(end)
        end += len(body) + 11
    text = bytearray()
    for number, body in enumerate(bodies):
        text += body
        for callee in (number * 7 + 1, number * 13 + 5):
            text += b"\xe8" + struct.pack("<i", starts[callee % _FUNCTIONS] - len(text) - 5)  # call rel32
        text += b"\xc3"  # ret
    return _elf(bytes(text))


def _elf(text: bytes) -> bytes:
    names = b"\0.text\0.shstrtab\0"
    sections = 0x40 + len(text) + len(names)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        *(b"\x7fELF\x02\x01\x01", 3, _X86_64, 1, 0x1040, 0, sections, 0, 64, 56, 0, 64, 3, 2),
    )
    entries = (
        (0,) * 10,
        (1, _PROGBITS, _CODE, 0x1040, 0x40, len(text), 0, 0, 16, 0),
        (7, _STRTAB, 0, 0, 0x40 + len(text), len(names), 0, 0, 1, 0),
    )
    return header + text + names + b"".join(struct.pack("<IIQQQQIIQQ", *entry) for entry in entries)
