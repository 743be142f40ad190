"""The top of the command: which commands there are, the version, the exit codes."""

from __future__ import annotations

import click

from deltaseal._version import __version__
from deltaseal.cli.lazy import LazyGroup
from deltaseal.errors import EXIT_CODES

__all__ = ["exit_code_rows", "root"]

_COMMANDS = {
    "diff": ("deltaseal.cli.deltas:diff", "Make the delta between two images or two directories."),
    "apply": ("deltaseal.cli.deltas:apply", "Make the new image or directory from the old one and a delta."),
    "inspect": ("deltaseal.cli.files:inspect", "Say what a file is and what is in it."),
    "verify": ("deltaseal.cli.files:verify", "Prove a bundle, a signed document or a delta."),
    "keys": ("deltaseal.cli.keys:keys", "Make keys and trust files."),
    "bundle": ("deltaseal.cli.bundle:bundle", "Build and sign bundles."),
    "manifest": ("deltaseal.cli.manifest:manifest", "Make bases, device manifests and catalogues."),
    "repo": ("deltaseal.cli.repo:repo", "Publish a repository that devices fetch from."),
    "device": ("deltaseal.cli.device:device", "Create, update and look at a device."),
    "bench": ("deltaseal.cli.bench:bench", "Measure our deltas beside those of other tools."),
    "explain": ("deltaseal.cli.explain:explain", "Say what every byte of a delta is spent on."),
    "rollout": ("deltaseal.cli.rollout:rollout", "Move, pause, withdraw and reissue improvements."),
    "fleet": ("deltaseal.cli.fleet:fleet", "Many devices: their reports, and who is still exposed."),
    "matrix": ("deltaseal.cli.matrix:matrix", "Make all deltas for many bases, models and components."),
    "torture": (
        "deltaseal.cli.torture:torture",
        "Prove that no cut, fault or hostile byte leaves a wrong image.",
    ),
    "completion": ("deltaseal.cli.completion:completion", "Print the completion script for a shell."),
}


class _Root(LazyGroup):
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The exit codes, from their one table."""
        with formatter.section("Exit codes"):
            formatter.write_dl(exit_code_rows())


def exit_code_rows() -> list[tuple[str, str]]:
    """Code and meaning of every exit code, with its reason codes."""
    return [
        (str(row.code), row.meaning + (f" ({', '.join(row.reasons)})" if row.reasons else ""))
        for row in EXIT_CODES
    ]


@click.group(
    cls=_Root,
    lazy=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", message="deltaseal %(version)s")
def root() -> None:
    """Small signed binary improvements for system software: made, proved, applied, removed.

    `deltaseal COMMAND --help` says more. Data goes to standard output, words to standard error; what
    reports has --json.
    """
