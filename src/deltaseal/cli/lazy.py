"""Commands that are loaded when they run, and help that is dressed up when it is shown."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from deltaseal.cli.app import App

__all__ = ["Command", "Group", "LazyGroup"]


class _Helpful(click.Command):
    """Has the options that all have, and shows its help through rich where it goes to a terminal."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, callback, words in _COMMON:
            option = click.Option([*name], is_flag=True, expose_value=False, callback=callback, help=words)
            self.params.append(option)

    def get_help(self, ctx: click.Context) -> str:
        """The help, as text; with colours and boxes for a terminal."""
        if sys.stdout.isatty():
            from deltaseal.cli.rich_help import dressed_help

            return dressed_help(self, ctx, self.rows(ctx))
        return super().get_help(ctx)

    def rows(self, ctx: click.Context) -> list[tuple[str, str]] | None:
        """Name and line of help of each command of a group; ``None`` if this is none."""
        return None

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Where the exit codes are explained."""
        formatter.write_paragraph()
        formatter.write_text("Exit codes: `deltaseal --help`.")


def _debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(App).debug = True


def _verbose(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(App).wordy = True


def _quiet(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(App).wordy = False


_COMMON = (
    (("-v", "--verbose"), _verbose, "Say what was done, also where no person reads it."),
    (("-q", "--quiet"), _quiet, "Say nothing where all is well."),
    (("--debug",), _debug, "Show the trace of an error."),
)


class Command(_Helpful):
    """One command."""


class Group(_Helpful, click.Group):
    """Commands under one name, listed as they are defined."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in order."""
        return [*self.commands]

    def rows(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Name and line of help of each command."""
        return [(name, self.commands[name].get_short_help_str(100)) for name in self.commands]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The rows as plain text."""
        with formatter.section("Commands"):
            formatter.write_dl(self.rows(ctx))


class LazyGroup(Group):
    """A group whose commands lie elsewhere: a name leads to ``module:attribute`` and a line of help."""

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return [*self._lazy]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one command."""
        if cmd_name not in self._lazy:
            return None
        module, _, attribute = self._lazy[cmd_name][0].partition(":")
        found = getattr(import_module(module), attribute)
        assert isinstance(found, click.Command)
        return found

    def rows(self, ctx: click.Context) -> list[tuple[str, str]]:
        """The table's lines: no command is loaded for them."""
        return [(name, line) for name, (_, line) in self._lazy.items()]
