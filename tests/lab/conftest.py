from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deltaseal.lab.bench import Pair, Tool

MakeTool = Callable[..., Tool]

# A program with deltaseal's command line: its delta is the new side, squeezed.
_PROGRAM = """\
#!{python}
import sys, zlib
from pathlib import Path
{before}
if sys.argv[1] == "--version":
    sys.exit()
verb, first, second, _, out, *_ = sys.argv[1:]
data = Path(second).read_bytes()
if verb == "diff":
    {diff}
else:
    {apply}
"""


@pytest.fixture
def make_tool(tmp_path: Path) -> MakeTool:
    """A tool made of a little program: statements that run first, that make a delta, that apply one."""

    def make(
        name: str = "fake",
        *,
        before: str = "",
        diff: str = "Path(out).write_bytes(zlib.compress(data))",
        apply: str = "Path(out).write_bytes(zlib.decompress(data))",
    ) -> Tool:
        program = tmp_path / f"{name}-program"
        program.write_text(_PROGRAM.format(python=sys.executable, before=before, diff=diff, apply=apply))
        program.chmod(0o755)
        return Tool(
            name=name,
            settings="",
            create=(str(program), "diff", "{old}", "{new}", "-o", "{delta}"),
            apply=(str(program), "apply", "{old}", "{delta}", "-o", "{new}"),
            start=(str(program), "--version"),
        )

    return make


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    folder = tmp_path / "corpus" / "one"
    folder.mkdir(parents=True)
    (folder / "old").write_bytes(bytes(range(256)) * 40)
    (folder / "new").write_bytes(bytes(range(256)) * 41)
    return Pair("one", "security", "elf", "amd64", folder / "old", folder / "new", 10240, 10496)


@pytest.fixture
def tree_pair(tmp_path: Path) -> Pair:
    for side in ("old", "new"):
        folder = tmp_path / "corpus" / "two" / side
        (folder / "lib").mkdir(parents=True)
        (folder / "lib" / "run").write_text(side * 500)
        (folder / "lib" / "run").chmod(0o755)
        (folder / "link").symlink_to("lib/run")
    base = tmp_path / "corpus" / "two"
    return Pair("two", "tree", "tree", "any", base / "old", base / "new", 1500, 1500)
