"""``deltaseal bench``: our deltas beside those of other tools."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deltaseal.cli.app import App, pass_app
from deltaseal.cli.lazy import Command
from deltaseal.cli.options import FILE, PATH, force_option
from deltaseal.cli.progress import bar
from deltaseal.cli.words import count
from deltaseal.errors import ChecksFailedError, DigestError, UsageError

if TYPE_CHECKING:
    from deltaseal.lab.bench import Pair, Record, Tool
    from deltaseal.lab.bench.result import Result

__all__ = ["bench"]

_FIGURES = ("bytes", "create", "create-memory", "apply", "apply-memory")


class _Limit(click.ParamType[tuple[str, float]]):
    """``bytes=0.5``: a figure, and by how many percent it may grow."""

    name = "limit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        figure, _, percent = str(value).partition("=")
        try:
            if figure in _FIGURES:
                return figure, float(percent)
        except ValueError:
            pass
        return self.fail(f"{value!r} is no limit such as bytes=0.5 (of {', '.join(_FIGURES)})", param, ctx)


@click.command(cls=Command)
@click.argument("what", nargs=-1, metavar="OLD NEW | --corpus FILE [PAIR]...")
@click.option(
    "--corpus",
    metavar="FILE",
    help="Measure the pairs of this list (docs/corpus.md), not OLD and NEW; `public` is ours. "
    "A PAIR is a name, group, kind or architecture; without one, all.",
)
@click.option("--into", type=PATH, metavar="DIR", help="Where the corpus lies, or is fetched to.")
@click.option(
    "--against",
    multiple=True,
    default=("all",),
    metavar="TOOL",
    help="A peer to run beside; repeatable. `all` is every one that is installed, `none` is none.  "
    "[default: all]",
)
@click.option(
    "--tools", type=FILE, metavar="FILE", help="Commands of more peers, as templates (docs/bench.md)."
)
@click.option(
    "--effort",
    "efforts",
    type=click.Choice(["fast", "default", "best"]),
    multiple=True,
    default=("default",),
    help="Of ours; repeatable.  [default: default]",
)
@click.option(
    "--repeats", type=click.IntRange(1, 1000), default=1, show_default=True, help="Each tool, in turns."
)
@click.option("--timeout", type=float, metavar="SECONDS", help="That one call may take.")
@click.option("--json", "json_file", type=PATH, metavar="FILE", help="Write every figure, for --compare.")
@click.option("--csv", "csv_file", type=PATH, metavar="FILE", help="Write a line for each tool and pair.")
@click.option("--html", type=PATH, metavar="FILE", help="Write a page with plots, whole in itself.")
@click.option("--png", type=PATH, metavar="FILE", help="Write one picture, for a pull request.")
@click.option("--compare", type=FILE, metavar="OLD.json", help="Say what changed since a former run.")
@click.option(
    "--limit",
    "limits",
    type=_Limit(),
    multiple=True,
    metavar="FIGURE=PERCENT",
    help="With --compare: exit 30 where our FIGURE grew by more; bytes of any pair, the others in the mean. "
    f"FIGURE: {', '.join(_FIGURES)}.  [default: bytes=0]",
)
@force_option
@pass_app
def bench(
    app: App,
    what: tuple[str, ...],
    corpus: str | None,
    into: Path | None,
    against: tuple[str, ...],
    tools: Path | None,
    efforts: tuple[str, ...],
    repeats: int,
    timeout: float | None,
    json_file: Path | None,
    csv_file: Path | None,
    html: Path | None,
    png: Path | None,
    compare: Path | None,
    limits: tuple[tuple[str, float], ...],
    force: bool,
) -> None:
    """Measure our deltas beside those of every other tool that is installed.

    Each call is a process of its own; with --repeats the tools take turns. Bytes, processor seconds and peak
    memory of making and of applying; every result is compared with NEW. A ratio is ours over the other's.
    """
    from deltaseal.lab.bench.result import load_result

    before = load_result(compare) if compare else None
    files = {"json": json_file, "csv": csv_file, "html": html, "png": png}
    _check_files(files, force)
    chosen = _tools(app, against, tools, efforts)
    pairs, wrong = _pairs(app, what, corpus, into)
    result = _measure(app, pairs, chosen, repeats, timeout)
    _write(result, files, force)
    app.report({}, lambda: _lines(result))
    failed = [f"{r.pair}: {r.tool}: {r.failure}" for r in result.records if not r.good]
    failed += [f"{pair}: other bytes than the list says" for pair in wrong]
    if before is not None:
        from deltaseal.lab.bench.compare import compare as held

        comparison = held(before, result, dict(limits) or {"bytes": 0.0})
        app.report({}, lambda: ["", f"since {compare}:", *comparison.lines()])
        failed += comparison.past
    if failed:
        raise ChecksFailedError("; ".join(failed), hint="each is said above")


def _tools(app: App, against: Sequence[str], templates: Path | None, efforts: Sequence[str]) -> list[Tool]:
    from deltaseal.lab.bench import ours
    from deltaseal.lab.bench.templates import load_tools
    from deltaseal.lab.bench.tools import asked_peers

    more = load_tools(templates) if templates else ()
    names = [name for name in against if name != "none"]
    peers, left_out = asked_peers(names, more)
    if left_out:
        app.say(f"left out: {left_out}")
    command = Path(sys.executable).with_name("deltaseal")
    return [*(ours(command, effort=effort) for effort in dict.fromkeys(efforts)), *peers]


def _pairs(
    app: App, what: Sequence[str], corpus: str | None, into: Path | None
) -> tuple[Sequence[Pair], Sequence[str]]:
    """The pairs that are here, and the names of those whose bytes are not what the list says."""
    if corpus is None:
        if len(what) != 2:
            raise UsageError("bench needs OLD and NEW, or --corpus FILE", hint="--corpus public is ours")
        from deltaseal.lab.bench.sides import pair_of

        return [pair_of(*map(Path, what))], ()
    from deltaseal.lab.bench.corpus import PUBLIC, load_pairs, select
    from deltaseal.lab.bench.fetch import fetch
    from deltaseal.lab.bench.fetch.command import default_corpus

    folder = into or default_corpus()
    pairs = select(load_pairs(PUBLIC if corpus == "public" else Path(corpus), folder), what)
    away = [pair for pair in pairs if not pair.is_here]
    wrong: Sequence[str] = ()
    if away:
        app.say(f"fetching {count(len(away), 'pair')} into {folder}")
        fetched = fetch(away, folder)
        wrong = tuple(fetched.wrong)
        for line in fetched.lines():
            app.say(line)
    here = [pair for pair in pairs if pair.is_here]
    if not here:
        if wrong:
            raise DigestError(
                f"{', '.join(wrong)}: other bytes than the list says", hint="each is said above"
            )
        raise UsageError("none of these pairs is here", hint="what was said above tells why")
    return here, wrong


def _measure(
    app: App, pairs: Sequence[Pair], tools: Sequence[Tool], repeats: int, timeout: float | None
) -> Result:
    from deltaseal.lab.bench import run
    from deltaseal.lab.bench.machine import command_line, machine, versions
    from deltaseal.lab.bench.result import Result

    total = len(pairs) * len(tools)
    with bar(app, "measuring") as shown:
        measured = 0

        def done(record: Record) -> None:
            nonlocal measured
            measured += 1
            shown.step(f"measured {record.pair} with {record.tool}", measured, total)

        records = run(pairs, tools, repeats=repeats, timeout=timeout, done=done)
    return Result(tuple(records), machine(), versions(tools), command_line())


def _lines(result: Result) -> list[str]:
    from deltaseal.lab.bench.tables import result_lines

    return result_lines(result)


def _html(result: Result) -> bytes:
    from deltaseal.lab.bench.page import page

    return page(result).encode()


def _png(result: Result) -> bytes:
    from deltaseal.lab.bench.plots import overview_png

    return overview_png(result)


def _csv(result: Result) -> bytes:
    from deltaseal.lab.bench.export import to_csv

    return to_csv(result.records).encode()


_WRITERS: dict[str, Callable[[Result], bytes]] = {
    "json": lambda result: result.to_json().encode(),
    "csv": _csv,
    "html": _html,
    "png": _png,
}


_NEEDS = {"html": ("jinja2", "matplotlib"), "png": ("matplotlib",)}


def _check_files(files: dict[str, Path | None], force: bool) -> None:
    """Refuse what could not be written before hours of measuring, not after."""
    from deltaseal.storage import check_output

    for kind, path in files.items():
        if path is None:
            continue
        check_output(path, force=force)
        lacking = [name for name in _NEEDS.get(kind, ()) if find_spec(name) is None]
        if lacking:
            raise UsageError(f"--{kind} needs {' and '.join(lacking)}", hint="pip install 'deltaseal[bench]'")


def _write(result: Result, files: dict[str, Path | None], force: bool) -> None:
    from deltaseal.storage import write_output

    for kind, path in files.items():
        if path is not None:
            write_output(path, [_WRITERS[kind](result)], force=force)
