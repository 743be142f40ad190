"""The C core, bound one to one: checked lengths in, exceptions out.

The only place that sees a pointer. Nothing here knows a file name, a key or a
policy. The interpreter lock is released while the core works.
"""

from typing import TYPE_CHECKING

from deltaseal._core.binding import (
    CONTEXT_STREAM,
    SHORT_DIGEST_SIZE,
    STREAM_COUNT,
    STREAM_NAMES,
    CoreError,
    DeltaHeader,
    Sha256,
    Status,
    applier_path,
    read_header,
    write_header,
)
from deltaseal._lazy import homes_in, names_from

if TYPE_CHECKING:
    from deltaseal._core.creating import (
        TECHNIQUES,
        CodePart,
        Creation,
        Modelled,
        OpenedOld,
        Prepared,
        Without,
        apply,
        create,
        prove,
        sketch_code,
    )
    from deltaseal._core.explaining import Explained, explain, explain_bytes

__all__ = [
    "CONTEXT_STREAM",
    "SHORT_DIGEST_SIZE",
    "STREAM_COUNT",
    "STREAM_NAMES",
    "TECHNIQUES",
    "CodePart",
    "CoreError",
    "Creation",
    "DeltaHeader",
    "Explained",
    "Modelled",
    "OpenedOld",
    "Prepared",
    "Sha256",
    "Status",
    "Without",
    "applier_path",
    "apply",
    "create",
    "explain",
    "explain_bytes",
    "prove",
    "read_header",
    "sketch_code",
    "write_header",
]

__getattr__ = names_from(
    __name__,
    homes_in(
        __name__,
        {
            "creating": (
                "TECHNIQUES",
                "CodePart",
                "Creation",
                "Modelled",
                "OpenedOld",
                "Prepared",
                "Without",
                "apply",
                "create",
                "prove",
                "sketch_code",
            ),
            "explaining": ("Explained", "explain", "explain_bytes"),
        },
    ),
)
