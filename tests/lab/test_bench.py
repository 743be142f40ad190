from __future__ import annotations

import importlib.util
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from deltaseal.lab.bench import Pair, Record, Tool, peers, run

MakeTool = Callable[..., Tool]


def test_a_good_tool(make_tool: MakeTool, pair: Pair) -> None:
    seen: list[Record] = []
    (record,) = run([pair], [make_tool("mine")], done=seen.append)
    assert seen == [record]
    assert (record.pair, record.group, record.tool, record.failure) == ("one", "security", "mine", "")
    assert 100 < record.delta_bytes < 1000
    assert record.create.peak_kb > 5000 and record.apply.peak_kb > 5000


def test_what_starting_takes_is_not_counted(make_tool: MakeTool, pair: Pair) -> None:
    slow_to_start = "import time\nwhile time.process_time() < 0.3: pass"
    (record,) = run([pair], [make_tool(before=slow_to_start)])
    assert record.good
    assert record.create.cpu_s < 0.2 and record.apply.cpu_s < 0.2


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        ({"diff": "sys.exit('cannot')"}, "create: exit 1: cannot"),
        ({"apply": "sys.exit('will not')"}, "apply: exit 1: will not"),
        ({"apply": "Path(out).write_bytes(data)"}, "apply: the result is not the new side"),
        ({"apply": "pass"}, "apply: the result is not the new side"),
    ],
)
def test_a_delta_counts_only_if_it_gives_the_new_side_back(
    make_tool: MakeTool, pair: Pair, fault: dict[str, str], failure: str
) -> None:
    (record,) = run([pair], [make_tool(**fault)], repeats=2)
    assert (record.failure, record.good, record.repeats) == (failure, False, 1)


def test_a_tool_that_makes_no_file_fails(make_tool: MakeTool, pair: Pair) -> None:
    (record,) = run([pair], [make_tool(diff="pass")])
    assert record.failure == "create: no delta"


def test_out_of_time(make_tool: MakeTool, pair: Pair) -> None:
    (record,) = run([pair], [make_tool(diff="import time; time.sleep(9)")], timeout=0.5)
    assert record.failure == "create: out of time"


def test_tools_take_turns(make_tool: MakeTool, pair: Pair, tmp_path: Path) -> None:
    log = tmp_path / "log"

    def noted(name: str) -> Tool:
        note = f"open({str(log)!r}, 'a').write({name!r})"
        return make_tool(name, diff=f"{note}; Path(out).write_bytes(zlib.compress(data))")

    run([pair], [noted("a"), noted("b")], repeats=3)
    assert log.read_text() == "ababab"


def test_nothing_is_left_behind(make_tool: MakeTool, pair: Pair, tree_pair: Pair, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    run([pair, tree_pair], [make_tool(), make_tool("bad", diff="sys.exit(1)")], scratch=scratch)
    assert list(scratch.iterdir()) == []


def test_a_tree_is_given_as_a_tar_that_says_nothing_of_when_and_who(
    make_tool: MakeTool, tree_pair: Pair, tmp_path: Path
) -> None:
    kept = [tmp_path / "first.tar", tmp_path / "second.tar"]
    for keep in kept:
        keeping = f"Path({str(keep)!r}).write_bytes(data); Path(out).write_bytes(zlib.compress(data))"
        (record,) = run([tree_pair], [make_tool(diff=keeping)])
        assert record.good and record.new_bytes == 1500
        (tree_pair.new / "lib" / "run").touch()
    assert kept[0].read_bytes() == kept[1].read_bytes()
    with tarfile.open(kept[0]) as archive:
        assert archive.getnames() == ["lib", "lib/run", "link"]
        assert archive.getmember("link").linkname == "lib/run"
        assert archive.getmember("lib/run").mode == 0o755


@pytest.mark.parametrize(
    "damage",
    [
        lambda tree: (tree / "lib" / "run").chmod(0o644),
        lambda tree: (tree / "lib" / "run").write_text("else"),
        lambda tree: (tree / "more").touch(),
        lambda tree: (tree / "lib" / "run").unlink(),
        lambda tree: ((tree / "link").unlink(), (tree / "link").symlink_to("lib")),
        lambda tree: ((tree / "link").unlink(), (tree / "link").mkdir()),
        lambda tree: ((tree / "link").unlink(), shutil.copy(tree / "lib" / "run", tree / "link")),
    ],
)
def test_a_tree_must_come_back_whole(
    tree_pair: Pair, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tree_pair.new, model, symlinks=True)
    copies = Tool(
        name="cp",
        settings="",
        create=("touch", "{delta}"),
        apply=("cp", "-a", str(model), "{new}"),
        start=("true",),
        takes_trees=True,
    )
    assert run([tree_pair], [copies])[0].failure == ""
    damage(model)
    assert run([tree_pair], [copies])[0].failure == "apply: the result is not the new side"


def test_peers_that_are_here_really_work(pair: Pair, tree_pair: Pair) -> None:
    here = [peer for peer in peers() if not peer.lacks]
    assert importlib.util.find_spec("bsdiff4") and "bsdiff4" in {peer.name for peer in here}
    for record in run([pair, tree_pair], here):
        assert record.failure == "", record.tool
        assert 0 < record.delta_bytes < record.new_bytes


def test_peers_say_what_they_lack() -> None:
    (hdiffz,) = (peer for peer in peers(hdiffz="no-such-hdiffz") if peer.name == "hdiffz-lzma2")
    assert hdiffz.lacks == "program no-such-hdiffz"
