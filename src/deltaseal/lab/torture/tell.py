"""A report as a table for people, as JSON, and as JUnit XML for build systems."""

from __future__ import annotations

import json
from collections.abc import Iterator
from xml.etree import ElementTree

from deltaseal.lab.torture.result import Finding, Part, Report

__all__ = ["finding_lines", "junit_xml", "table", "to_json"]

_HEADS = ("what", "operations", "cuts", "states", "distinct", "seconds", "how it ended")
_WIDTHS = (36, 10, 7, 9, 8, 8)


def table(report: Report) -> list[str]:
    """The report as lines; findings come after."""
    lines = [_row(_HEADS), _row(tuple("-" * len(head) for head in _HEADS))]
    lines += [_part(part) for part in report.parts]
    total = report.to_json()["total"]
    names = ("operations", "cuts", "states", "distinct")
    seconds = f"{sum(part.seconds for part in report.parts):.1f}"
    lines.append(_row(("in all", *(f"{total[name]:,}" for name in names), seconds, "")))
    crossed = f"; {report.crossed} of {report.rows} rows of the state table crossed" if report.rows else ""
    return [
        *lines,
        "",
        f"{report.subject}, {report.mode} run: {'good' if report.good else 'FOUND WANTING'}{crossed}",
    ]


def _part(part: Part) -> str:
    ended = ", ".join(
        f"{count} {how}" for how, count in sorted(part.ended.items(), key=lambda item: -item[1])
    )
    count = len(part.findings) + part.more_findings
    mark = "" if part.good else f"  {count} FINDING{'S' if count != 1 else ''}"
    numbers = (part.operations, part.cuts, part.states, part.distinct)
    cells = (f"{part.kind}: {part.name}", *(f"{number:,}" if number else "" for number in numbers))
    return _row((*cells, f"{part.seconds:.1f}", ended + mark))


def _row(cells: tuple[str, ...]) -> str:
    first, *numbers, last = cells
    padded = [f"{cell:>{width}}" for cell, width in zip(numbers, _WIDTHS[1:], strict=True)]
    return "  ".join((f"{first:<{_WIDTHS[0]}}", *padded, last)).rstrip()


def finding_lines(report: Report) -> Iterator[str]:
    """Every finding: what, where, and how to see it again."""
    for where, finding in report.findings:
        yield f"{where}: {finding.what}: {finding.sentence}"
        yield from (f"    {name}: {value}" for name, value in finding.facts.items())
    hidden = sum(part.more_findings for part in report.parts)
    if hidden:
        yield f"and {hidden} more of the same parts"


def to_json(report: Report) -> str:
    """The report as JSON text."""
    return json.dumps(report.to_json(), indent=2, sort_keys=True) + "\n"


def junit_xml(report: Report) -> bytes:
    """The report as JUnit XML: a test case for each part, and one for the run as a whole."""
    suites = ElementTree.Element("testsuites", name="deltaseal torture")
    failed = sum(not part.good for part in report.parts) + bool(report.shortcomings)
    suite = ElementTree.SubElement(
        suites,
        "testsuite",
        name=f"deltaseal torture: {report.subject} ({report.mode})",
        tests=str(len(report.parts) + 1),
        failures=str(failed),
        errors="0",
        time=f"{sum(part.seconds for part in report.parts):.3f}",
    )
    for part in report.parts:
        _case(suite, part.kind, part.name, part.seconds, part.findings, part.words)
    words = f"{report.crossed} of {report.rows} rows of the state table crossed"
    _case(suite, "run", "the run as a whole", 0.0, list(report.shortcomings), words)
    ElementTree.indent(suites)
    xml: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return xml + b"\n"


def _case(
    suite: ElementTree.Element, kind: str, name: str, seconds: float, findings: list[Finding], words: str
) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=f"torture.{kind}", name=name, time=f"{seconds:.3f}"
    )
    for finding in findings:
        facts = "".join(f"\n{key}: {value}" for key, value in finding.facts.items())
        failure = ElementTree.SubElement(case, "failure", type=finding.what, message=_clean(finding.sentence))
        failure.text = _clean(finding.sentence + facts)
    ElementTree.SubElement(case, "system-out").text = _clean(words)


def _clean(text: str) -> str:
    """Text without the characters that XML 1.0 does not know."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
