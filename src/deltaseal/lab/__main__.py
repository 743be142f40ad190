"""``./dev bench``: measure the real pairs, print the tables, bring the tables of sizes up to date."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from deltaseal.errors import ChecksFailedError, DeltasealError, UsageError
from deltaseal.lab.ablation import command as ablation
from deltaseal.lab.bench import export, runner, sizes
from deltaseal.lab.bench.corpus import Pair, load_pairs, recorded_sizes, select
from deltaseal.lab.bench.fetch import fetch
from deltaseal.lab.bench.fetch.command import default_corpus
from deltaseal.lab.bench.machine import machine, versions
from deltaseal.lab.bench.record import Record
from deltaseal.lab.bench.result import Result
from deltaseal.lab.bench.tools import Tool, asked_peers, ours

EFFORTS = ("fast", "default", "best")
KEPT = ("default", "best")  # measured where none is asked for
TABLES = Path("benchmarks/results")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; a refusal is one line on standard error."""
    options = _parser().parse_args(arguments)
    try:
        _bench(options)
    except DeltasealError as error:
        hint = f" ({error.hint})" if error.hint else ""
        print(f"bench: {error.sentence}{hint}", file=sys.stderr)
        return error.exit_code
    return 0


def _bench(options: argparse.Namespace) -> None:
    every = load_pairs(options.lists / "pairs.toml", options.corpus)
    pairs = _fetched(select(every, options.names), options)
    if options.streams:
        ablation.run(pairs, TABLES)
        return
    efforts = (options.effort,) if options.effort else KEPT[:1] if options.sizes else KEPT
    mine = {effort: ours(options.tool, effort=effort) for effort in efforts}
    tools = [*mine.values(), *_asked(options.peers)]
    records = runner.run(
        pairs,
        tools,
        repeats=options.repeats,
        timeout=options.timeout,
        scratch=options.scratch,
        done=lambda record: print(export.line(record), file=sys.stderr, flush=True),
    )
    recorded = recorded_sizes(options.lists / "peers.csv")
    rows = {
        effort: [sizes.row(r, recorded) for r in records if r.tool == tool.name and r.good]
        for effort, tool in mine.items()
    }
    for effort, found in rows.items():
        print(f"effort {effort}\n{export.sizes_table(found)}")
    print(export.cost_table(records))
    _write_records(records, tools, options)
    changes = []
    for effort, found in rows.items():
        table = options.sizes or _table(effort)
        differing = sizes.update(table, found, order=[pair.name for pair in every])
        print("\n".join([f"{table}:", *map(str, differing)]) if differing else f"{table}: no change")
        changes += differing
    _judge(records, rows[efforts[0]], changes, options)


def _table(effort: str) -> Path:
    return TABLES / ("sizes.csv" if effort == "default" else f"sizes-{effort}.csv")


def _write_records(records: Sequence[Record], tools: Sequence[Tool], options: argparse.Namespace) -> None:
    if options.json:
        command = shlex.join(["./dev", "bench", *sys.argv[1:]])
        options.json.write_text(Result(tuple(records), machine(), versions(tools), command).to_json())
    if options.csv:
        options.csv.write_text(export.to_csv(records))


def _judge(
    records: Sequence[Record],
    rows: Sequence[sizes.Row],
    changes: Sequence[sizes.Change],
    options: argparse.Namespace,
) -> None:
    failed = [f"{record.pair}: {record.tool}: {record.failure}" for record in records if not record.good]
    failed += sizes.above(rows, means=options.bar, worst=options.worst)
    if options.no_growth:
        failed += [str(change) for change in changes if change.grew]
    if failed:
        raise ChecksFailedError("; ".join(failed))


def _fetched(chosen: Sequence[Pair], options: argparse.Namespace) -> list[Pair]:
    """The chosen pairs, fetched where they are not here; what cannot be had is said and left out."""
    wanted = [pair for pair in chosen if pair.new_bytes <= options.max_mb * 1e6]
    away = [pair.name for pair in wanted if not pair.is_here]
    if away:
        print(f"bench: fetching {len(away)} pairs into {options.corpus}", file=sys.stderr)
        for line in fetch([pair for pair in wanted if pair.name in away], options.corpus).lines():
            print(f"bench: {line}", file=sys.stderr)
    here = [pair for pair in wanted if pair.is_here]
    if not here:
        raise UsageError("none of these pairs is here", hint="what was said above tells why")
    return here


def _asked(names: str) -> list[Tool]:
    """The peers asked for; with ``all`` those that are on this machine, the others are named."""
    asked, left_out = asked_peers([name for name in names.split(",") if name])
    if left_out:
        print(f"bench: left out: {left_out}", file=sys.stderr)
    return asked


# ---- options -----------------------------------------------------------------------------------


def _bar(text: str) -> sizes.Bar:
    peer, _, rest = text.partition(":")
    group, _, ratio = rest.partition("=")
    if peer not in sizes.PEERS or not group:
        raise ValueError
    return sizes.Bar(peer, group, float(ratio))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./dev bench",
        description="Measure deltas of the real pairs, print the tables, bring sizes.csv up to date.",
    )
    _add_what(parser)
    _add_places(parser)
    _add_bars(parser)
    return parser


def _add_what(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("names", nargs="*", metavar="PAIR", help="a pair, group, kind or architecture; all without one")
    add("--peers", default="", metavar="A,B", help="run these too, side by side; 'all' for every one")
    add("--repeats", type=int, default=1, metavar="N", help="times that each tool runs on a pair, in turns")
    add("--max-mb", type=float, default=float("inf"), metavar="MB", help="leave out larger new images")
    add("--timeout", type=float, metavar="S", help="seconds that one call may take")
    add(
        "--effort",
        choices=EFFORTS,
        help=f"of ours, each has a table of its own; without it {' and '.join(KEPT)}",
    )
    add(
        "--streams",
        action="store_true",
        help=f"bytes by stream and coder, and what each technique gives; kept in {TABLES}",
    )
    add("--tool", type=Path, default=Path(sys.executable).with_name("deltaseal"), help="what is measured")


def _add_places(parser: argparse.ArgumentParser) -> None:
    lists = Path("benchmarks/corpus")
    add = parser.add_argument
    add("--corpus", type=Path, default=default_corpus(), metavar="DIR", help="where the pairs lie")
    add("--lists", type=Path, default=lists, metavar="DIR", help="folder of pairs.toml, peers.csv and fetch")
    add(
        "--sizes",
        type=Path,
        metavar="FILE",
        help=f"the table of sizes that is kept; else those of the efforts, in {TABLES}",
    )
    add("--scratch", type=Path, metavar="DIR", help="folder for temporary files")
    add("--json", type=Path, metavar="FILE", help="write every record as JSON")
    add("--csv", type=Path, metavar="FILE", help="write every record in the columns of peers.csv")


def _add_bars(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    for name, what in (("--bar", "the geometric mean"), ("--worst", "the worst pair")):
        text = f"exit 30 where {what} of a GROUP, or 'all', is above; PEER: {', '.join(sizes.PEERS)}"
        add(name, type=_bar, action="append", default=[], metavar="PEER:GROUP=RATIO", help=text)
    add("--no-growth", action="store_true", help="exit 30 where a delta grew")


if __name__ == "__main__":
    sys.exit(main())
