"""Options that several commands have, so that one word means one thing everywhere."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from deltaseal.cli.app import App

__all__ = [
    "DIRECTORY",
    "FILE",
    "MOMENT",
    "NAME",
    "PATH",
    "PLACE",
    "SIZE",
    "channel_option",
    "exclude_option",
    "expires_after_option",
    "force_option",
    "issued_option",
    "json_option",
    "making_options",
    "names_option",
    "output_option",
    "permit_options",
    "phase_option",
    "scenario_options",
    "store_option",
]

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class _Path(click.Path):
    """A ``pathlib.Path``. Loading that takes a while: it is done where one is given."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from pathlib import Path

        return Path(os.fsdecode(super().convert(value, param, ctx)))


class _Name(click.Path):
    """A path as text, for commands that may take less time than loading ``pathlib``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from deltaseal.storage import plain_path

        return plain_path(os.fsdecode(super().convert(value, param, ctx)))


# Whether a file may be read is told when it is read (E_IO), not guessed beforehand.
NAME = _Name(readable=False)
PATH = _Path(readable=False)
FILE = _Path(exists=True, dir_okay=False, readable=False)
DIRECTORY = _Path(exists=True, file_okay=False, readable=False)

DAY = 86_400  # seconds


class _Moment(click.ParamType[int]):
    """A date, a date with a time, both UTC, or seconds since 1970."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if re.fullmatch(r"[0-9]{1,12}", value):
            return int(value)
        for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"):
            try:
                return int(datetime.strptime(value, form).replace(tzinfo=UTC).timestamp())
            except ValueError:
                continue
        self.fail(f"{value!r} is no date such as 2026-03-17 or 2026-03-17T10:00:00Z, nor seconds", param, ctx)


class _Size(click.ParamType[int]):
    """Bytes, with K, M or G for powers of 1024."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([0-9]{1,12})([KMG]?)", value)
        if not found or int(found[1]) == 0:
            self.fail(f"{value!r} is no size such as 500M or 2G", param, ctx)
        return int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[found[2]]


class _Place(click.ParamType[str]):
    """A folder that is there, or a URL."""

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value if "://" in value else str(DIRECTORY.convert(value, param, ctx))


MOMENT = _Moment()
PLACE = _Place()
SIZE = _Size()


def _json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(App).json = True


# Eager, so that a refusal of what stands before it comes as JSON too.
json_option = click.option(
    "--json",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_json,
    help="One JSON object on standard output, also for a refusal.",
)
exclude_option = click.option(
    "--exclude",
    multiple=True,
    metavar="PATH",
    help="For directories: leave this path, and all below it, out of both sides. Repeatable.",
)
names_option = click.option(
    "--names",
    type=click.Choice(["sensitive", "insensitive"]),
    default="sensitive",
    show_default=True,
    help="For directories: whether the file system tells A from a.",
)
force_option = click.option("--force", is_flag=True, help="Replace an output that exists.")
issued_option = click.option(
    "--issued",
    type=MOMENT,
    envvar="SOURCE_DATE_EPOCH",
    metavar="DATE",
    help="When it is issued, UTC; by default SOURCE_DATE_EPOCH, else now.",
)
store_option = click.option(
    "--store",
    type=PATH,
    envvar="DELTASEAL_STORE",
    default="/var/lib/deltaseal",
    show_default=True,
    metavar="DIR",
    help="The folder of the device; also from DELTASEAL_STORE.",
)


def output_option(what: str, kind: click.Path = PATH) -> Callable[[Decorated], Decorated]:
    """``-o``: where the result goes."""
    return click.option(
        "-o", "--output", type=kind, required=True, metavar=what, help=f"The {what} to write."
    )


def expires_after_option(days: int, most: int) -> Callable[[Decorated], Decorated]:
    """``--expires-after``: for how many days it lives."""
    return click.option(
        "--expires-after",
        type=click.IntRange(1, most),
        default=days,
        show_default=True,
        metavar="DAYS",
        help=f"How many days it lives, at most {most:,}.",
    )


def phase_option(default: int | None) -> Callable[[Decorated], Decorated]:
    """``--phase``: to how many; required where there is no default."""
    return click.option(
        "--phase",
        type=click.IntRange(0, 10_000),
        required=default is None,
        default=default,
        show_default=default is not None,
        help="How many of 10,000 devices are in.",
    )


def channel_option(default: str | None) -> Callable[[Decorated], Decorated]:
    """``--channel``: to whom; without a default it stays as it is."""
    return click.option(
        "--channel",
        type=click.Choice(["seed", "stable"]),
        default=default,
        show_default=default is not None,
        help="Whom it is offered to; by default whom it is offered to now."
        if default is None
        else "Whom it is offered to.",
    )


def permit_options(command: Decorated) -> Decorated:
    """``--channel``, ``--phase`` and ``--paused``: what a device manifest says of a rollout."""
    paused = click.option("--paused", is_flag=True, help="No device starts any more.")
    return channel_option("stable")(phase_option(10_000)(paused(command)))


def scenario_options(*, trees: str, day_zero: str) -> Callable[[Decorated], Decorated]:
    """The file SCENARIO, ``--tree``, ``--day-zero``; where the words come to differ, they are given."""

    def options(command: Decorated) -> Decorated:
        file = click.argument("toml", type=FILE, metavar="SCENARIO")
        tree = click.option(
            "--tree",
            "trees",
            type=(str, DIRECTORY),
            multiple=True,
            metavar="NAME DIR",
            help=f"The directory that a tree's name in the scenario stands for{trees}. Repeatable.",
        )
        zero = click.option(
            "--day-zero",
            type=MOMENT,
            metavar="DATE",
            help=f"The day from which days count; by default {day_zero}.",
        )
        return file(tree(zero(making_options(command))))

    return options


def making_options(command: Decorated) -> Decorated:
    """``--effort`` and ``--threads``: how deltas are made."""
    threads = click.option(
        "--threads",
        type=click.IntRange(1, 256),
        default=1,
        show_default=True,
        help="Threads to use; they change no byte.",
    )
    effort = click.option(
        "--effort",
        type=click.Choice(["fast", "default", "best"]),
        default="default",
        show_default=True,
        help="How hard to look for a smaller delta.",
    )
    return effort(threads(command))
