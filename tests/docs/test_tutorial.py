"""The tutorial works as it stands: its commands are run one after another."""

from __future__ import annotations

from pathlib import Path

from support.pages import commands_of, run_in

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial" / "README.md"


def test_every_command_of_the_tutorial_works(tmp_path: Path) -> None:
    blocks = commands_of(TUTORIAL)
    done = run_in(tmp_path, blocks)
    assert done.returncode == 0, done.stderr
    assert len(blocks) == 6
    before, _, after = done.stdout.partition("\nexit code 20\n")
    assert "macOS 26.3.1 (a)" in before
    assert after.startswith("macOS 26.3.1 (a)\n")
