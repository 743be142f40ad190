"""The page for operators works as it stands: its commands are run one after another."""

from __future__ import annotations

from pathlib import Path

from support.pages import commands_of, run_in

PAGE = Path(__file__).parents[2] / "docs" / "operate.md"
FIXES = '[[cves]]\ncve = "CVE-2026-20643"\ncomponent = "app"\ntitle = "WebKit"\nimpact = "may bypass"\n'


def test_every_command_of_the_page_works(tmp_path: Path) -> None:
    (tmp_path / "fixes.toml").write_text(FIXES)
    blocks = commands_of(PAGE)
    done = run_in(tmp_path, blocks)
    assert done.returncode == 0, done.stderr
    assert len(blocks) == 10
    assert "release-macos 1 is signed, and waits to be published" in done.stdout
    assert "macOS 26.3.1 build 25D2128: fixed from (a) on, macos-26.3.1-a" in done.stdout
    assert "nothing to do: macOS 26.3.1 (a) is applied already" in done.stderr
