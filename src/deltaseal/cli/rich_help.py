"""Help with colours and boxes, for a terminal. The only module that loads rich-click."""

from __future__ import annotations

from typing import Any

import click
from rich_click import RichCommand, RichContext, RichGroup

__all__ = ["dressed_help"]


class _RichGroup(RichGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands]  # as they stand in the table, not by the alphabet


def dressed_help(command: click.Command, ctx: click.Context, rows: list[tuple[str, str]] | None) -> str:
    """The help of a command, as rich-click draws it; ``rows`` are the commands of a group.

    A twin of rich-click's own class is drawn, so that commands need not be of that class: they load it
    only here.
    """
    values: dict[str, Any] = {
        "help": command.help,
        "params": command.params,
        "context_settings": {"help_option_names": ctx.help_option_names},
    }
    twin: RichCommand | RichGroup
    if rows is None:
        twin = RichCommand(name=command.name, **values)
    else:
        commands = {name: click.Command(name, help=line) for name, line in rows}
        twin = _RichGroup(name=command.name, commands=commands, **values)
    text = twin.get_help(RichContext(twin, info_name=ctx.command_path))
    plain = click.HelpFormatter(width=ctx.terminal_width, max_width=ctx.max_content_width)
    command.format_epilog(ctx, plain)
    return text.rstrip() + "\n" + plain.getvalue().rstrip()
