"""The harness behind ``deltaseal torture``: proves that no cut, fault or hostile byte leaves a wrong image.

``torture`` runs the real updater over a simulated disk; ``foreign`` does the same to somebody else's applier.
"""

from typing import TYPE_CHECKING

from deltaseal._lazy import homes_in, names_from

if TYPE_CHECKING:
    from deltaseal.lab.torture.foreign import torture_applier
    from deltaseal.lab.torture.result import Ended, Finding, Part, Report
    from deltaseal.lab.torture.run import KINDS, Given, torture
    from deltaseal.lab.torture.tell import finding_lines, junit_xml, table, to_json

__all__ = [
    "KINDS",
    "Ended",
    "Finding",
    "Given",
    "Part",
    "Report",
    "finding_lines",
    "junit_xml",
    "table",
    "to_json",
    "torture",
    "torture_applier",
]

_ROOMS = {
    "foreign": ("torture_applier",),
    "result": ("Ended", "Finding", "Part", "Report"),
    "run": ("KINDS", "Given", "torture"),
    "tell": ("finding_lines", "junit_xml", "table", "to_json"),
}
__getattr__ = names_from(__name__, homes_in(__name__, _ROOMS))
