"""The reference pages, from what the program says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

import deltaseal
from deltaseal.cli.root import exit_code_rows, root

__all__ = ["pages"]

ROOT = Path(__file__).parents[2]
WIDTH = 80  # columns that fit a page


def pages() -> dict[str, str]:
    """Path to text of every generated page."""
    return {
        "reference/commands.md": "\n".join(_commands()),
        "reference/exit-codes.md": "\n".join(_exit_codes()),
        "reference/python.md": "\n".join(_python()),
        "reference/c.md": _header(),
    }


def _commands() -> Iterator[str]:
    yield "# Commands\n"
    yield "What `--help` says, for every command. Data goes to standard output, words to standard error.\n"
    top = click.Context(root, info_name="deltaseal", max_content_width=WIDTH, terminal_width=WIDTH)
    for name in root.list_commands(top):
        command = root.get_command(top, name)
        assert command is not None
        yield from _command(command, name, top, level=2)


def _command(command: click.Command, name: str, above: click.Context, *, level: int) -> Iterator[str]:
    context = click.Context(
        command, info_name=name, parent=above, max_content_width=WIDTH, terminal_width=WIDTH
    )
    formatter = context.make_formatter()
    command.format_help(context, formatter)
    yield f"{'#' * level} {context.command_path}\n\n```text\n{formatter.getvalue().rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for part in command.list_commands(context):
            found = command.get_command(context, part)
            assert found is not None
            yield from _command(found, part, context, level=level + 1)


def _exit_codes() -> Iterator[str]:
    yield "# Exit codes\n"
    yield "Every refusal has a reason code; `--json` gives it with the facts that decided.\n"
    yield "| code | meaning |\n|--:|---|"
    for code, meaning in exit_code_rows():
        yield f"| {code} | {meaning} |"


def _python() -> Iterator[str]:
    yield "# Python\n"
    yield "Everything that `import deltaseal` offers. Names are loaded when they are first used.\n"
    for name in deltaseal.__all__:
        if name.startswith("__"):
            continue
        value = getattr(deltaseal, name)
        yield f"::: {value.__module__}.{value.__qualname__}"
        yield f"    options:\n      heading: deltaseal.{name}\n      toc_label: {name}\n"


def _header() -> str:
    text = (ROOT / "native" / "include" / "deltaseal.h").read_text()
    return (
        "# C\n\n`deltaseal.h` is the whole public face of the core; a program that applies deltas links it "
        "and libzstd. [examples/apply.c](../project/examples/apply.c.md) is one.\n\n"
        f"```c\n{text}```\n"
    )
