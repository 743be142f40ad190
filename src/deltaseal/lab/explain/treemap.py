"""An explanation as a page that is whole in itself: a treemap to click through, and tables. Loads jinja2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deltaseal.errors import UsageError
from deltaseal.lab.explain.kinds import KINDS
from deltaseal.lab.explain.names import readable
from deltaseal.lab.explain.report import Explanation, Share
from deltaseal.lab.explain.tables import TOP

__all__ = ["treemap"]

_TEMPLATE = Path(__file__).with_name("treemap.html.j2")


def treemap(found: Explanation, title: str) -> str:
    """The page as HTML. Raises UsageError where jinja2 is not installed."""
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError as error:
        raise UsageError("pages need jinja2", hint="pip install 'deltaseal[bench]'") from error
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    kinds = found.by(lambda share: share.kind)
    return environment.from_string(_TEMPLATE.read_text()).render(
        title=title,
        found=found,
        kinds=[(kind, size, _hue(kind)) for kind, size in kinds.items()],
        functions=found.largest(TOP),
        readable=readable,
        # Nothing in a script's text may end it.
        data=json.dumps(_nested(found, title), ensure_ascii=True, separators=(",", ":")).replace(
            "<", "\\u003c"
        ),
    )


def _hue(kind: str) -> int:
    """Where a kind stands on the wheel of colours; greys for what is no content."""
    order = [k for k in KINDS if k not in _GREYS]
    return -1 if kind in _GREYS or kind not in order else round(360 * order.index(kind) / len(order)) + 8


_GREYS = ("container", "block layout", "headers")


def _path(share: Share) -> list[str]:
    folders = share.file.split("/") if share.file else []
    return [*folders, share.section, *([readable(share.item)] if share.item else []), share.stream]


def _nested(found: Explanation, title: str) -> dict[str, Any]:
    """Nodes ``n``ame, ``b``ytes, ``c``hildren; leaves have the ``h``ue and the name of their ``k``ind."""
    root: dict[str, Any] = {"n": title, "b": 0, "c": {}}
    for share in found.shares:
        if not share.bytes:
            continue
        node = root
        node["b"] += share.bytes
        for name in _path(share):
            node = node["c"].setdefault(name, {"n": name, "b": 0, "c": {}})
            node["b"] += share.bytes
        node["k"], node["h"] = share.kind, _hue(share.kind)
    return _listed(root)


def _listed(node: dict[str, Any]) -> dict[str, Any]:
    children = sorted(map(_listed, node["c"].values()), key=lambda child: (-child["b"], child["n"]))
    rest = {name: value for name, value in node.items() if name != "c"}
    return {**rest, "c": children} if children else rest
