"""The command as a process: help, version, completion, errors, signals, closed outputs, terminals."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from support.command import deltaseal, must

from deltaseal import __version__
from deltaseal.cli.lazy import Group
from deltaseal.cli.root import root
from deltaseal.errors import EXIT_CODES

COMMAND = [sys.executable, "-c", "from deltaseal.cli import main; main()"]


def commands(group: click.Group = root, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every command and group."""
    found = [path]
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
        else:
            found.append((*path, name))
    return found


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_command_explains_itself(path: tuple[str, ...]) -> None:
    long = must(*path, "--help")
    assert long.out == must(*path, "-h").out
    assert long.out.startswith(f"Usage: deltaseal {' '.join(path)}".rstrip())
    assert long.err == ""
    assert "Exit codes" in long.out
    assert "\x1b" not in long.out


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_option_and_command_has_a_line_of_help(path: tuple[str, ...]) -> None:
    command: click.Command = root
    for name in path:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), name) or command
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help and parameter.help.endswith((".", "]")), parameter.name
    if isinstance(command, Group):
        assert all(line for _, line in command.rows(click.Context(command)))


def test_the_help_has_every_exit_code(here: Path) -> None:
    shown = re.sub(r"\s+", " ", must("--help").out)
    for row in EXIT_CODES:
        reasons = f" ({', '.join(row.reasons)})" if row.reasons else ""
        assert f" {row.code} {row.meaning}{reasons}" in shown


def test_version() -> None:
    assert must("--version").out == must("-V").out == f"deltaseal {__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["keys"], ["device"]])
def test_nothing_asked_shows_the_help_and_is_wrong_usage(arguments: list[str]) -> None:
    ran = deltaseal(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Usage: deltaseal")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nothing"], "deltaseal: E_USAGE: No such command 'nothing' (hint: `deltaseal --help`)\n"),
        (["diff", "a"], "deltaseal: E_USAGE: Missing argument 'NEW' (hint: `deltaseal diff --help`)\n"),
        (["--nothing"], "deltaseal: E_USAGE: No such option '--nothing' (hint: `deltaseal --help`)\n"),
        (
            ["diff", "a", "b", "-o", "c", "--effort", "huge"],
            "deltaseal: E_USAGE: Invalid value for '--effort': 'huge' is not one of 'fast', 'default', "
            "'best' (hint: `deltaseal diff --help`)\n",
        ),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], line: str) -> None:
    ran = deltaseal(*arguments)
    assert (ran.code, ran.out, ran.err) == (2, "", line)


def test_the_trace_is_shown_only_when_asked_for(here: Path) -> None:
    assert "Traceback" not in deltaseal("apply", "other", "image.delta", "-o", "n").err
    for arguments in (
        ["--debug", "apply", "other", "image.delta", "-o", "n"],
        ["apply", "other", "image.delta", "-o", "n", "--debug"],
    ):
        ran = deltaseal(*arguments)
        assert ran.err.startswith("Traceback")
        assert ran.err.splitlines()[-1].startswith("deltaseal: E_BASE: ")


def test_a_bug_is_said_to_be_one(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("deltaseal.verbs.deltas.diff", fail)
    ran = deltaseal("diff", "old", "new", "-o", "d")
    assert ran.code == 1
    assert ran.err.startswith("deltaseal: a bug: RuntimeError: boom (hint: please report it")


def test_a_refusal_is_json_too_where_json_was_asked_for(here: Path) -> None:
    ran = deltaseal("inspect", "empty", "--json")
    assert ran.json == {
        "format": 1,
        "error": {
            "reason": "E_TYPE",
            "exit_code": 15,
            "sentence": "'empty' is empty",
            "hint": "get the file again",
            "facts": {"path": "empty"},
        },
    }
    assert ran.err == "deltaseal: E_TYPE: 'empty' is empty (hint: get the file again)\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str) -> None:
    script = must("completion", shell).out
    assert "_DELTASEAL_COMPLETE" in script
    assert f"{shell}_complete" in script


def test_completion_completes() -> None:
    words = {"COMP_WORDS": "deltaseal man", "COMP_CWORD": "1", "_DELTASEAL_COMPLETE": "bash_complete"}
    done = subprocess.run(COMMAND, env={**os.environ, **words}, capture_output=True, text=True, check=False)
    assert done.stdout == "plain,manifest\n"


# ---- as a process ----------------------------------------------------------------------------------------


def test_ended_by_a_signal_it_leaves_nothing(here: Path) -> None:
    Path("big-old").write_bytes(os.urandom(3_000_000))
    Path("big-new").write_bytes(os.urandom(3_000_000))
    before = {path.name for path in here.iterdir()}
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        child = subprocess.Popen([*COMMAND, "diff", "big-old", "big-new", "-o", "d"], stderr=subprocess.PIPE)
        while {path.name for path in here.iterdir()} == before and child.poll() is None:
            time.sleep(0.01)
        child.send_signal(number)
        _, words = child.communicate(timeout=30)
        assert child.returncode == -number
        assert b"Traceback" not in words
        assert {path.name for path in here.iterdir()} == before


def test_a_reader_that_went_away_is_no_error(here: Path) -> None:
    child = subprocess.Popen([*COMMAND, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout and child.stderr
    child.stdout.close()
    words = child.stderr.read()
    child.stderr.close()
    assert child.wait(timeout=30) in (0, -signal.SIGPIPE)
    assert words == b""


def on_a_terminal(*arguments: str, command: list[str] = COMMAND) -> str:
    """What a command writes to a terminal of 100 columns."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": "100"}
        os.execv(command[0], [*command, *arguments])
    written = b""
    while True:
        try:
            piece = os.read(terminal, 65_536)
        except OSError:  # Linux: the other side is closed
            break
        if not piece:
            break
        written += piece
    os.close(terminal)
    os.waitpid(child, 0)
    return written.decode()


def test_help_is_dressed_up_on_a_terminal_and_says_the_same() -> None:
    shown = on_a_terminal("--help")
    assert "\x1b[" in shown
    bare = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    for name in ("diff", "completion"):
        assert name in bare
    assert bare.index(" diff") < bare.index(" apply") < bare.index(" inspect")
    assert "no slot with a good digest; needs rebase (BROKEN)" in bare
    assert "--max-memory" in re.sub(r"\x1b\[[0-9;]*m", "", on_a_terminal("diff", "--help"))


def test_a_bar_is_drawn_on_a_terminal_for_what_takes_long(here: Path) -> None:
    quick = on_a_terminal("diff", "old", "new", "-o", "d")
    assert "making the delta" not in quick
    impatient = "from deltaseal.cli import main, progress; progress._PATIENCE = 0; main()"
    shown = on_a_terminal("diff", "old", "new", "-o", "d2", command=[sys.executable, "-c", impatient])
    assert "making the delta" in shown
    for ran in (quick, shown):
        assert "applied and compared" in ran


def test_a_usage_error_is_json_too_where_json_was_asked_for() -> None:
    ran = deltaseal("apply", "--json")
    assert ran.code == 2
    assert json.loads(ran.out)["error"]["reason"] == "E_USAGE"
    assert ran.err.count("\n") == 1
