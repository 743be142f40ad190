"""What `./dev wheel` runs in a bare environment with the wheel: the command, both programs, the examples.

Uses nothing but the standard library and what the wheel brought; ends with the first failure. The
demonstration compares with bsdiff4, which is installed for it once everything else has worked without.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
from importlib import metadata, resources
from pathlib import Path

import deltaseal
from deltaseal.manifest import Base
from deltaseal.trust import ALGORITHMS, PrivateKey, Role, Trust, sign

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EPOCH = 1_773_705_600  # 2026-03-17, seconds since 1970
COMMAND = Path(sys.executable).with_name("deltaseal")


def run(*command: object, code: int = 0, **environment: str) -> str:
    """The standard output of a command that ends as it should."""
    done = subprocess.run(
        [str(word) for word in command], env={**os.environ, **environment}, capture_output=True, text=True
    )
    if done.returncode != code:
        sys.exit(f"{command} ended with {done.returncode}, not {code}:\n{done.stdout}{done.stderr}")
    return done.stdout


def check_the_programs() -> None:
    """The applier and the rescue program are there, can be run, and need no library."""
    for name in ("deltaseal-apply", "deltaseal-rescue"):
        with resources.as_file(resources.files("deltaseal._core") / name) as program:
            assert os.access(program, os.X_OK), f"{name} cannot be run"
            assert not asks_for_a_loader(program.read_bytes()), f"{name} is not static"


def asks_for_a_loader(image: bytes) -> bool:
    """Whether a 64-bit ELF file has a program header of type PT_INTERP (3)."""
    assert image[:5] == b"\x7fELF\x02"
    table, (size, count) = int.from_bytes(image[32:40], "little"), struct.unpack_from("<HH", image, 54)
    return any(struct.unpack_from("<I", image, table + n * size)[0] == 3 for n in range(count))


def check_the_examples(folder: Path) -> None:
    """Both example scripts do what tests/examples asks of them."""
    old, new = folder / "old", folder / "new"
    for side, text in ((old, "one"), (new, "two")):
        side.mkdir()
        (side / "engine.so").write_bytes(text.encode() * 2_000)
    delta, out = folder / "tree.delta", folder / "out"
    run(COMMAND, "diff", old, new, "-o", delta)
    run(sys.executable, EXAMPLES / "apply_with_proof.py", old, delta, out)
    assert (out / "engine.so").read_bytes() == (new / "engine.so").read_bytes()
    run(sys.executable, EXAMPLES / "apply_with_proof.py", new, delta, folder / "other", code=13)
    keys = [PrivateKey.generate(algorithm) for algorithm in ALGORITHMS]
    role = Role("release:macos", tuple(key.public for key in keys), dict.fromkeys(ALGORITHMS, 1))
    (folder / "trust.json").write_bytes(Trust.of(role, expires=EPOCH * 2).dumps())
    base = deltaseal.make_base("macos", "26.3.1", "25D2128", {"app": old})
    (folder / "macos.base").write_bytes(sign(Base.TYPE, base.dumps(), keys).to_bytes())
    files = [folder / f"{key.public.algorithm}.pem" for key in keys]
    for key, path in zip(keys, files, strict=True):
        key.save(path)
    given = (folder / "macos.base", folder / "trust.json", old, new, folder / "a.bundle", *files)
    run(sys.executable, EXAMPLES / "make_bundle.py", *given, SOURCE_DATE_EPOCH=str(EPOCH))


def main() -> None:
    """Everything, in a folder that goes again."""
    assert "site-packages" in deltaseal.__file__, deltaseal.__file__
    assert run(COMMAND, "--version").split()[-1] == metadata.version("deltaseal")
    check_the_programs()
    with tempfile.TemporaryDirectory(prefix="deltaseal-trial-") as folder:
        check_the_examples(Path(folder))
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
        run(*pip, "install", "--only-binary", ":all:", "bsdiff4>=1.3,<2")
        # Without a network it compiles its images itself.
        run(sys.executable, EXAMPLES / "demo.py", "--into", Path(folder) / "demo", PIP_NO_INDEX="1")


main()
