"""One image: the delta between two versions, applied with proof, and looked into.

A delta that does not reproduce its new image is never returned; a foreign delta
is applied in a confined child that has no path and no network.
"""

from typing import TYPE_CHECKING

from deltaseal._lazy import homes_in, names_from

if TYPE_CHECKING:
    from deltaseal.images.alike import code_sketch
    from deltaseal.images.applier import AppliedImage, apply
    from deltaseal.images.creator import EFFORTS, PreparedOld, diff, diff_bytes, prepare
    from deltaseal.images.explainer import NOWHERE, ImageAccount, account, price, split
    from deltaseal.images.hashing import hasher
    from deltaseal.images.inspector import ImageDeltaInfo, StreamInfo, inspect, is_image_delta
    from deltaseal.images.limits import Limits

__all__ = [
    "EFFORTS",
    "NOWHERE",
    "AppliedImage",
    "ImageAccount",
    "ImageDeltaInfo",
    "Limits",
    "PreparedOld",
    "StreamInfo",
    "account",
    "apply",
    "code_sketch",
    "diff",
    "diff_bytes",
    "hasher",
    "inspect",
    "is_image_delta",
    "prepare",
    "price",
    "split",
]

__getattr__ = names_from(
    __name__,
    homes_in(
        __name__,
        {
            "alike": ("code_sketch",),
            "applier": ("AppliedImage", "apply"),
            "creator": ("EFFORTS", "PreparedOld", "diff", "diff_bytes", "prepare"),
            "explainer": ("NOWHERE", "ImageAccount", "account", "price", "split"),
            "hashing": ("hasher",),
            "inspector": ("ImageDeltaInfo", "StreamInfo", "inspect", "is_image_delta"),
            "limits": ("Limits",),
        },
    ),
)
