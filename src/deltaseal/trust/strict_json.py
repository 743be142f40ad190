"""JSON as signed documents may use it: one way to read it, one way to write it.

Reading refuses whatever two readers could understand differently (RFC 8259
leaves duplicate keys, number ranges and lone surrogates open) and whatever
could show a person something else than it says (control and bidi characters).
Writing gives the same bytes for the same value.  The rules are in
docs/spec/documents.md, section 3.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from deltaseal.errors import DocumentTypeError, LimitError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_INTEGER", "dumps", "loads"]

MAX_BYTES = 1 << 20  # of one JSON text
MAX_DEPTH = 16  # arrays and objects inside each other, the outermost counted
MAX_INTEGER = 1 << 53  # in magnitude: what every JSON reader holds exactly

# Control characters (Cc), the characters that turn the direction of text (Bidi_Control of
# Unicode's PropList), and surrogates, which in a Python string are always lone.
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\N{ARABIC LETTER MARK}\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def loads(data: bytes) -> dict[str, Any]:
    """Return the JSON object in ``data``.

    Values are dict, list, str, int, bool and None.  Raises ``LimitError`` for
    more than ``MAX_BYTES``, ``DocumentTypeError`` for all else that is not allowed.
    """
    if len(data) > MAX_BYTES:
        raise LimitError(
            f"a JSON text may have {MAX_BYTES} bytes, this one has {len(data)}",
            size=len(data),
            limit=MAX_BYTES,
        )
    try:
        value = _READER.decode(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _refusal("bytes that are not UTF-8", byte=error.start) from error
    except RecursionError as error:
        raise _refusal(f"more than {MAX_DEPTH} levels") from error
    except json.JSONDecodeError as error:
        raise _refusal("a fault in its syntax", byte=error.pos, fault=error.msg) from error
    if not isinstance(value, dict):
        raise _refusal("no object at the top")
    _check(value)
    return value


def dumps(value: dict[str, Any]) -> bytes:
    """Return the canonical bytes of ``value``: keys sorted by code point, no spaces, UTF-8.

    Raises ``DocumentTypeError`` for what :func:`loads` would refuse.
    """
    _check(value)
    return _WRITER.encode(value).encode("utf-8")


def _refusal(found: str, **facts: Any) -> DocumentTypeError:
    return DocumentTypeError(f"the JSON text has {found}", found=found, **facts)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _refusal("the same key twice", key=ascii(twice))
    return members


def _integer(digits: str) -> int:
    # The length first: turning very many digits into a number takes quadratic time.
    if len(digits) > len(str(-MAX_INTEGER)) or abs(number := int(digits)) > MAX_INTEGER:
        raise _refusal("a number over 2^53", digits=digits[:32])
    return number


def _no_number(text: str) -> NoReturn:
    raise _refusal("a number that is no integer", number=text[:32])


def _check(top: object) -> None:
    """Hold a value against the rules that a JSON parser does not know: kinds, depth, characters."""
    todo: list[tuple[object, int]] = [(top, 1)]
    while todo:
        value, depth = todo.pop()
        if isinstance(value, str):
            _check_text(value)
        elif isinstance(value, dict | list):
            if depth > MAX_DEPTH:
                raise _refusal(f"more than {MAX_DEPTH} levels")
            if isinstance(value, dict):
                for key in value:
                    if not isinstance(key, str):
                        raise _refusal("a key that is no string", key=repr(key))
                    _check_text(key)
            children = value.values() if isinstance(value, dict) else value
            todo.extend((child, depth + 1) for child in children)
        elif isinstance(value, int):
            if abs(value) > MAX_INTEGER:
                raise _refusal("a number over 2^53", digits=str(value.bit_length()) + " bits")
        elif value is not None:
            raise _refusal(f"a value of type {type(value).__name__}")


def _check_text(text: str) -> None:
    found = _FORBIDDEN.search(text)
    if found:
        raise _refusal(
            "a character that no text may have",
            character=f"U+{ord(found.group()):04X}",
            text=ascii(text[:64]),
        )


_READER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_no_number, parse_constant=_no_number
)
_WRITER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
