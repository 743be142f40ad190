"""Getting members out of packages: wheels, zips, Debian's, tarballs; slices out of universal Mach-O files."""

from __future__ import annotations

import os
import posixpath
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from deltaseal.lab.bench.fetch.client import MissingError

__all__ = ["take", "thin"]

_LINKS = 8  # followed inside an archive, at most
_ZIPS = (".whl", ".zip")


def take(archive: Path, member: str, to: Path, *, is_tree: bool) -> None:
    """Write the archive's member to the file ``to``, or all below it into the folder ``to``.

    Without a member it is the file itself. Raises MissingError where there is none such, or a name leaves
    the folder.
    """
    if not member and not is_tree:
        shutil.move(archive, to)
        return
    try:
        if archive.suffix in _ZIPS:
            with zipfile.ZipFile(archive) as zipped:
                _zip_tree(zipped, _prefix(member), to) if is_tree else _zip_member(zipped, member, to)
            return
        with tarfile.open(_unpacked(archive)) as tar:
            names = {info.name.removeprefix("./"): info for info in tar.getmembers()}
            _tar_tree(tar, names, _prefix(member), to) if is_tree else _tar_member(tar, names, member, to)
    except (tarfile.TarError, zipfile.BadZipFile, KeyError) as error:
        raise MissingError(f"{archive.name}: {error}") from error


def _unpacked(archive: Path) -> Path:
    """The tar inside a Debian package; another archive is one itself."""
    if archive.suffix != ".deb":
        return archive
    import subprocess

    flat = archive.with_suffix(".tar")
    with flat.open("wb") as file:
        done = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(archive)], stdout=file, check=False)
    if done.returncode:
        raise MissingError(f"{archive.name}: dpkg-deb cannot open it")
    return flat


def _prefix(member: str) -> str:
    return "" if member in ("", ".") else member.rstrip("/") + "/"


def _place(to: Path, name: str) -> Path:
    if name.startswith("/") or ".." in name.split("/"):
        raise MissingError(f"unsafe name {name!r} in the package")
    place = to / name
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _write(source: IO[bytes] | None, to: Path, *, executable: bool | None = None) -> None:
    if source is None:
        raise MissingError(f"{to.name} is no file in the package")
    with source, to.open("wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
    if executable is not None:
        to.chmod(0o755 if executable else 0o644)


def _zip_member(zipped: zipfile.ZipFile, member: str, to: Path) -> None:
    _write(zipped.open(member), to)


def _zip_tree(zipped: zipfile.ZipFile, prefix: str, to: Path) -> None:
    for info in zipped.infolist():
        if not info.is_dir() and info.filename.startswith(prefix):
            executable = bool(info.external_attr >> 16 & 0o100)
            _write(zipped.open(info), _place(to, info.filename[len(prefix) :]), executable=executable)


def _tar_member(tar: tarfile.TarFile, names: dict[str, tarfile.TarInfo], member: str, to: Path) -> None:
    for _ in range(_LINKS):
        info = names.get(member)
        if info is None:
            raise MissingError(f"no {member} in {Path(str(tar.name)).stem}{_same_name(member, names)}")
        if info.isreg():
            _write(tar.extractfile(info), to)
            return
        target = info.linkname
        if info.islnk():
            member = target.removeprefix("./")
        else:
            member = posixpath.normpath(posixpath.join(posixpath.dirname(member), target)).lstrip("/")
    raise MissingError(f"{member} is a link to a link to a link")


def _tar_tree(tar: tarfile.TarFile, names: dict[str, tarfile.TarInfo], prefix: str, to: Path) -> None:
    for name, info in names.items():
        if not name.startswith(prefix) or not (info.isreg() or info.issym() or info.islnk()):
            continue
        place = _place(to, name[len(prefix) :])
        if info.issym():
            os.symlink(info.linkname, place)
        else:
            _write(tar.extractfile(info), place, executable=bool(info.mode & 0o100))


def _same_name(member: str, names: Iterable[str]) -> str:
    """Where else in the package a file of that name lies, in words."""
    wanted = posixpath.basename(member)
    found = [name for name in names if posixpath.basename(name) == wanted]
    return f", but {found[0]}" if found else ""


# Fat headers, big-endian: <mach-o/fat.h>; processor types: <mach/machine.h>.
_FAT = {0xCAFEBABE: struct.Struct(">IIIII"), 0xCAFEBABF: struct.Struct(">IIQQII")}
_PROCESSORS = {"arm64": 0x0100000C, "x86_64": 0x01000007}


def thin(path: Path, architecture: str) -> None:
    """Cut one architecture's slice out of a universal Mach-O file. Raises MissingError."""
    data = path.read_bytes()
    magic, count = struct.unpack_from(">II", data.ljust(8, b"\0"))
    entry = _FAT.get(magic)
    if entry is None:
        raise MissingError(f"{path.name} is no universal binary")
    for number in range(min(count, 64)):
        processor, _, offset, size, *_ = entry.unpack_from(data, 8 + entry.size * number)
        if processor == _PROCESSORS.get(architecture):
            path.write_bytes(data[offset : offset + size])
            return
    raise MissingError(f"no {architecture} slice in {path.name}")
