"""Completion for the shell, made by click."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from deltaseal.cli.lazy import Command

__all__ = ["completion"]

_HELP = """Print the completion script for a shell.

\b
bash:  deltaseal completion bash > ~/.local/share/bash-completion/completions/deltaseal
zsh:   deltaseal completion zsh > ~/.zfunc/_deltaseal     (with ~/.zfunc in fpath)
fish:  deltaseal completion fish > ~/.config/fish/completions/deltaseal.fish
"""


@click.command(cls=Command, help=_HELP)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script."""
    make = get_completion_class(shell)
    assert make is not None
    click.echo(make(ctx.find_root().command, {}, "deltaseal", "_DELTASEAL_COMPLETE").source())
