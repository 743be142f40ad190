"""Why a delta is as large as it is: every byte accounted for, by section, stream, kind, file and function.

``explain`` reads a delta, with the old side it was made for, and gives an ``Explanation``; tables, JSON and
a treemap are made from that. The rules of the account: docs/explain.md.
"""

from typing import TYPE_CHECKING

from deltaseal._lazy import homes_in, names_from

if TYPE_CHECKING:
    from deltaseal.lab.explain.report import Explanation, FunctionCost, Share
    from deltaseal.lab.explain.run import explain

__all__ = ["Explanation", "FunctionCost", "Share", "explain"]

__getattr__ = names_from(
    __name__, homes_in(__name__, {"report": ("Explanation", "FunctionCost", "Share"), "run": ("explain",)})
)
