"""A directory as one thing: its listing, its digest, and deltas between two of them.

``scan`` makes a listing, ``diff`` a tree delta, ``apply`` a new tree,
``inspect`` shows what a tree delta says. Formats: docs/spec/tree.md.
"""

from typing import TYPE_CHECKING

from deltaseal._lazy import homes_in, names_from

if TYPE_CHECKING:
    from deltaseal.trees.applier import apply
    from deltaseal.trees.container import MAGIC
    from deltaseal.trees.creator import ImagePair, diff, image_pairs
    from deltaseal.trees.grouping import Frames
    from deltaseal.trees.info import Change, GroupInfo, TreeDeltaInfo, inspect
    from deltaseal.trees.limits import Limits, Progress
    from deltaseal.trees.listing import Entry, Listing
    from deltaseal.trees.paths import show
    from deltaseal.trees.payloads import Payload, TreePayloads, payloads
    from deltaseal.trees.rules import Links, Names
    from deltaseal.trees.scanner import scan

__all__ = [
    "MAGIC",
    "Change",
    "Entry",
    "Frames",
    "GroupInfo",
    "ImagePair",
    "Limits",
    "Links",
    "Listing",
    "Names",
    "Payload",
    "Progress",
    "TreeDeltaInfo",
    "TreePayloads",
    "apply",
    "diff",
    "image_pairs",
    "inspect",
    "payloads",
    "scan",
    "show",
]

__getattr__ = names_from(
    __name__,
    homes_in(
        __name__,
        {
            "applier": ("apply",),
            "container": ("MAGIC",),
            "creator": ("ImagePair", "diff", "image_pairs"),
            "grouping": ("Frames",),
            "info": ("Change", "GroupInfo", "TreeDeltaInfo", "inspect"),
            "limits": ("Limits", "Progress"),
            "listing": ("Entry", "Listing"),
            "paths": ("show",),
            "payloads": ("Payload", "TreePayloads", "payloads"),
            "rules": ("Links", "Names"),
            "scanner": ("scan",),
        },
    ),
)
