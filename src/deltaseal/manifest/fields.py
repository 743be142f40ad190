"""Reading one JSON object field by field, so that nothing passes unread.

Every field of a signed document is critical: a reader that does not know it
refuses the document (E_TYPE), unless its name begins with ``x-``.  The shapes
of names, builds and digests are the table at the top (docs/spec/manifests.md,
"Shapes").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from deltaseal.errors import DocumentTypeError

T = TypeVar("T")
Word = TypeVar("Word", bound=str)

TEXT: Final = re.compile(r"[^\x00-\x1f\x7f]{1,2000}")
OS: Final = re.compile(r"[a-z][a-z0-9]{0,31}")
VERSION: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,2}")
LETTER: Final = re.compile(r"[a-z]")
BUILD: Final = re.compile(r"[!-~]{1,64}")
IMPROVEMENT: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
COMPONENT: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
MODEL: Final = re.compile(r"[!-~]([ -~]{0,62}[!-~])?")
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
TOKEN: Final = re.compile(r"[0-9a-f]{32,64}")
CVE: Final = re.compile(r"[A-Z][A-Z0-9]{1,15}-[0-9A-Za-z-]{1,40}")

MAX_NUMBER: Final = 2**53
MAX_ITEMS: Final = 10_000


class Fields:
    """One JSON object being read; ``done`` refuses whatever was not asked for.

    ``where`` names the object in sentences, such as ``bundle manifest: limits``.
    Every refusal is a ``DocumentTypeError``.
    """

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, Mapping):
            raise DocumentTypeError(f"{where}: expected an object, found {_kind(value)}", where=where)
        self._values: dict[str, Any] = dict(value)
        self._where = where

    def done(self) -> None:
        """Refuse unknown fields (H55); names that begin with ``x-`` may be ignored."""
        unknown = sorted(name for name in self._values if not name.startswith("x-"))
        if unknown:
            raise self._refusal(unknown[0], "this field is unknown, and every field is critical")

    def has(self, name: str) -> bool:
        """Whether the field is there and not yet read."""
        return name in self._values

    def text(self, name: str, shape: re.Pattern[str] = TEXT) -> str:
        """A string of the given shape."""
        return self._shaped(name, self._take(name), shape)

    def text_or_empty(self, name: str) -> str:
        """A free text that may be left out."""
        return self.text(name) if self.has(name) else ""

    def choice(self, name: str, allowed: tuple[Word, ...]) -> Word:
        """One of a few words."""
        value = self._take(name)
        for word in allowed:
            if word == value:
                return word
        raise self._refusal(name, f"expected one of {', '.join(allowed)}, found {_short(value)}")

    def number(self, name: str, *, least: int = 0, most: int = MAX_NUMBER) -> int:
        """A whole number from ``least`` to ``most``."""
        value = self._take(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self._refusal(name, f"expected a whole number from {least} to {most}, found {value!r}")
        return value

    def flag(self, name: str) -> bool:
        """``true`` or ``false``."""
        value = self._take(name)
        if not isinstance(value, bool):
            raise self._refusal(name, f"expected true or false, found {_kind(value)}")
        return value

    def texts(self, name: str, shape: re.Pattern[str] = TEXT) -> tuple[str, ...]:
        """A list of different strings of one shape, in the order of the document."""
        values = tuple(self._shaped(name, item, shape) for item in self._list(name))
        if len(set(values)) != len(values):
            raise self._refusal(name, "an entry stands there twice")
        return values

    def list_of(self, name: str, read: Callable[[Fields], T]) -> tuple[T, ...]:
        """A list of objects, each read by ``read``."""
        return tuple(self._read(item, f"{self._where}: {name}", read) for item in self._list(name))

    def nested(self, name: str, read: Callable[[Fields], T]) -> T:
        """One object, read by ``read``."""
        return self._read(self._take(name), f"{self._where}: {name}", read)

    def named(self, name: str, shape: re.Pattern[str], read: Callable[[Fields], T]) -> dict[str, T]:
        """An object whose keys are names of one shape and whose values are objects."""
        return {
            key: self._read(value, f"{self._where}: {name}: {key}", read)
            for key, value in self._mapping(name, shape).items()
        }

    def named_texts(self, name: str, keys: re.Pattern[str], values: re.Pattern[str]) -> dict[str, str]:
        """An object whose keys and values are strings of given shapes."""
        pairs = self._mapping(name, keys).items()
        return {key: self._shaped(f"{name}: {key}", value, values) for key, value in pairs}

    def named_numbers(self, name: str, keys: re.Pattern[str]) -> dict[str, int]:
        """An object whose keys are names of one shape and whose values are whole numbers."""
        inner = Fields(self._mapping(name, keys), f"{self._where}: {name}")
        return {key: inner.number(key) for key in list(inner._values)}

    def refuse(self, name: str, sentence: str) -> DocumentTypeError:
        """The refusal of one field, to be raised by the caller."""
        return self._refusal(name, sentence)

    def _mapping(self, name: str, shape: re.Pattern[str]) -> dict[str, Any]:
        value = self._take(name)
        if not isinstance(value, Mapping) or len(value) > MAX_ITEMS:
            raise self._refusal(name, f"expected an object of at most {MAX_ITEMS} names")
        return {self._shaped(name, key, shape): value[key] for key in sorted(value)}

    def _list(self, name: str) -> list[Any]:
        value = self._take(name)
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise self._refusal(name, f"expected a list of at most {MAX_ITEMS} entries")
        return value

    def _take(self, name: str) -> Any:
        if name not in self._values:
            raise self._refusal(name, "this field is missing")
        return self._values.pop(name)

    def _shaped(self, name: str, value: object, shape: re.Pattern[str]) -> str:
        if not isinstance(value, str) or not shape.fullmatch(value):
            raise self._refusal(name, f"expected a text of the shape {shape.pattern}, found {_short(value)}")
        return value

    @staticmethod
    def _read(value: object, where: str, read: Callable[[Fields], T]) -> T:
        fields = Fields(value, where)
        result = read(fields)
        fields.done()
        return result

    def _refusal(self, name: str, sentence: str) -> DocumentTypeError:
        return DocumentTypeError(f"{self._where}: {name}: {sentence}", where=self._where, field=name)


def read_object(value: object, where: str, read: Callable[[Fields], T]) -> T:
    """Read one whole object with ``read`` and refuse what it left unread."""
    fields = Fields(value, where)
    result = read(fields)
    fields.done()
    return result


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text"}
    return next((name for kind, name in kinds.items() if isinstance(value, kind)), repr(value)[:40])


def _short(value: object) -> str:
    return repr(value) if len(repr(value)) <= 80 else repr(value)[:77] + "..."
