"""What the owner of a device wants (R17): values of the store's ``policy.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from deltaseal.errors import UsageError

UPDATES: Final = ("automatic", "notify", "off")
REMOVERS: Final = ("person", "admin")
DOWNLOADS: Final = ("always", "unmetered", "never")


@dataclass(frozen=True, slots=True)
class Policy:
    """The owner's wishes; the defaults are those of a device without a policy file."""

    updates: str = "automatic"
    deadline: int | None = None  # seconds since 1970: from then on, removals by people are overridden
    personalised_only: bool = False
    remove: str = "person"  # who may remove an improvement
    full_download: str = "always"  # when whole files may be fetched
    trial_seconds: int = 60  # that a listed process must live with the new image
    hook_seconds: int = 60  # that one health hook may take


MAX_SECONDS: Final = 86_400  # a day: a trial is no way to switch confirmation off
_SECONDS: Final = ("trial_seconds", "hook_seconds")
_CHOICES: Final = {"updates": UPDATES, "remove": REMOVERS, "full_download": DOWNLOADS}


def read_policy(text: str) -> Policy:
    """Read ``policy.toml``; a wrong key or value is a ``UsageError`` that names it.

    ``deadline`` is a date, and passes at its beginning, UTC.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"policy.toml cannot be read: {error}", hint="correct the file") from error
    return Policy(**{name: _value(name, value) for name, value in values.items()})


def _value(name: str, value: Any) -> Any:
    if name in _CHOICES and isinstance(value, str) and value in _CHOICES[name]:
        return value
    if name == "personalised_only" and isinstance(value, bool):
        return value
    if name == "deadline" and type(value) is date:
        return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp())
    if name in _SECONDS and type(value) is int and 0 < value <= MAX_SECONDS:
        return value
    known = (*_CHOICES, "personalised_only", "deadline", *_SECONDS)
    allowed = " | ".join(_CHOICES[name]) if name in _CHOICES else "true | false, a date, or seconds"
    sentence = (
        f"policy.toml: {name} = {value!r} is not allowed"
        if name in known
        else f"policy.toml: {name} is unknown"
    )
    hint = f"allowed: {allowed}" if name in known else f"known: {', '.join(known)}"
    raise UsageError(sentence, hint=hint, key=name)
