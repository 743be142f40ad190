"""A small matrix on disk: real images, two bases, three models, letters; and what runs it."""

from __future__ import annotations

from pathlib import Path

from deltaseal.lab.matrix import Built, Cache, LocalExecutor, Releases, Watch, build, toolchain

GOLDEN = Path(__file__).parents[1] / "spec" / "golden"
GIB = 1 << 30
RELEASES = """\
format = 1

[[bases]]
id = "macos-26.3.1"
os = "macos"
build = "25D2128"
models = ["Mac15,6", "Mac16,8"]
components.app = { baseline = "app", becomes = "app-b", letters = { a = "app-a" } }
components.os = { baseline = "os", becomes = "os-b" }

[[bases]]
id = "macos-26.3.2"
os = "macos"
build = "25D2140"
models = ["Mac17,5"]
components.app = { baseline = "app", becomes = "app-b" }
components.os = { baseline = "os-neo", becomes = "os-neo-b" }
"""


def fill(folder: Path) -> Path:
    """Lay the trees out in ``folder``; returns the path of its RELEASES.toml.

    ``app`` is equal for both bases; of ``os`` the trees differ in a note, the image is equal.
    """
    old, new = ((GOLDEN / f"x86-64.{side}").read_bytes() for side in ("old", "new"))
    other_old, other_new = ((GOLDEN / f"aarch64.{side}").read_bytes() for side in ("old", "new"))
    between = new[:2000] + old[2000:]
    trees = {
        "app": (old, b"app"),
        "app-a": (between, b"app a"),
        "app-b": (new, b"app b"),
        "os": (other_old, b"os"),
        "os-b": (other_new, b"os b"),
        "os-neo": (other_old, b"os of a Neo"),
        "os-neo-b": (other_new, b"os of a Neo, b"),
    }
    for name, (image, note) in trees.items():
        (folder / name / "lib").mkdir(parents=True)
        (folder / name / "lib" / "engine.so").write_bytes(image)
        (folder / name / "note.txt").write_bytes(note)
    path = folder / "RELEASES.toml"
    path.write_text(RELEASES)
    return path


def build_here(
    releases: Path, output: Path, cache: Path, *, jobs: int = 2, watch: Watch | None = None
) -> Built:
    """Build with so many processes of this machine."""
    store = Cache(cache)
    return build(
        Releases.load(releases),
        output,
        store,
        lambda: LocalExecutor(cache, toolchain(), processes=jobs, memory=2 * GIB),
        watch=watch,
    )


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
