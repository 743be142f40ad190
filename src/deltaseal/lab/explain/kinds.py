"""What bytes were spent on, in words for people: by the stream or decision, and where they fell."""

from __future__ import annotations

from deltaseal.lab.explain.parts import Role

__all__ = ["CONTAINER", "KINDS", "LAYOUT", "RESOURCES", "is_mended", "kind_of"]

CONTAINER, LAYOUT, RESOURCES = "container", "block layout", "resources"
NEW_CODE, CHANGED_CODE, REFERENCES, STRINGS, DATA = (
    *("new code", "changed code", "reference residuals"),
    *("strings", "data"),
)

# Roles in which everything counts as one kind, whatever was decided there.
_BY_ROLE: dict[Role, str] = {
    "relocations": "relocation data",
    "unwind": "unwind tables",
    "signatures": "signatures",
    "strings": STRINGS,
    "symbols": "symbols",
    "headers": "headers",
    "packed": RESOURCES,
}

KINDS = (NEW_CODE, CHANGED_CODE, REFERENCES, LAYOUT, *dict.fromkeys(_BY_ROLE.values()), DATA, CONTAINER)

# Streams, and the model's decisions: docs/spec/delta-format.md and delta-model.md.
_PLACING = {"layout", "gaps", "lengths", "places", "gap", "place", "far", "block ends", "length"}
_REFERRING = {
    *("reference gaps", "reference fixes"),
    *("reference wrong", "reference kept", "reference fix", "reference target"),
}
_MENDING = {"residuals", "byte", "word guessed", "word parts", "word field"}
_DIFFERING = {"residual gaps", "unit differs", "byte differs", "word differs", *_MENDING}


def is_mended(stream: str) -> bool:
    """Whether what was spent there says how a copied byte differs."""
    return stream in _MENDING


def kind_of(role: Role, stream: str, *, is_new: bool = False, is_text: bool = False) -> str:
    """The kind of bytes of a stream in a section. ``is_new``: a function without an older self."""
    if role in _BY_ROLE:
        return _BY_ROLE[role]
    if stream in _PLACING:
        return LAYOUT
    if stream in _REFERRING:
        return REFERENCES
    if role == "code":
        return CHANGED_CODE if stream in _DIFFERING or not is_new else NEW_CODE
    return STRINGS if is_text else DATA
