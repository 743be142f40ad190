"""A scenario: a whole small publisher in one TOML file, as values.

Which bases there are, which improvements, for whom, closing what; who signs
with how many keys.  Dates are days from a day zero, trees are names: whoever
builds the scenario says when day zero is, and which directory a name stands
for.  ``examples/march-2026.toml`` is one, with comments.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from deltaseal.errors import DocumentTypeError, UsageError
from deltaseal.manifest import fields
from deltaseal.manifest.catalogue import WITHDRAWALS
from deltaseal.manifest.device_manifest import CHANNELS, LIFETIME, MAX_PHASE
from deltaseal.manifest.fields import Fields, read_object
from deltaseal.manifest.releases import ACTIVATIONS, NAMES, Fix, Names

DAY: Final = 86_400  # seconds
SCENARIO_FORMAT: Final = 1
ROLES: Final = ("personaliser", "release")
ALGORITHMS: Final = ("ed25519", "ml-dsa-65")
MAX_KEYS: Final = 16
_FAR: Final = 36_500  # days: a hundred years


@dataclass(frozen=True, slots=True)
class KeyCount:
    """How many signatures of one algorithm a role needs, and how many keys it has."""

    needed: int
    keys: int


@dataclass(frozen=True, slots=True)
class ScenarioBase:
    """One base; ``components`` maps each to the name of a tree."""

    os: str
    version: str
    build: str
    day: int
    components: Mapping[str, str]
    includes: tuple[str, ...]
    names: Names
    exclude: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScenarioImprovement:
    """One improvement; ``components`` maps each to the name of its new tree."""

    id: str
    os: str
    base_build: str
    letter: str
    build: str
    sequence: int
    day: int
    expires_after: int  # days after its day
    models: tuple[str, ...]
    activation: str
    processes: tuple[str, ...]
    cves: tuple[str, ...]
    components: Mapping[str, str]
    channel: str  # for whom it is in the end
    seed_day: int | None  # from when on it is offered to the channel seed before that

    @property
    def first_day(self) -> int:
        """The first day on which anybody is offered it."""
        return self.day if self.seed_day is None else min(self.day, self.seed_day)


@dataclass(frozen=True, slots=True)
class ScenarioWithdrawal:
    """An order to offer an improvement no longer, from a day on."""

    id: str
    action: str
    day: int


@dataclass(frozen=True, slots=True)
class ScenarioDates:
    """When something is made, and for how many days it lives."""

    day: int
    expires_after: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """A parsed scenario, whose parts fit together."""

    name: str
    roles: Mapping[str, Mapping[str, KeyCount]]  # role: algorithm: count; release is one role per system
    cves: tuple[Fix, ...]
    bases: tuple[ScenarioBase, ...]
    improvements: tuple[ScenarioImprovement, ...]
    catalogue: ScenarioDates
    catalogue_serial: int
    permits: ScenarioDates
    channel: str
    phase: int
    withdrawals: tuple[ScenarioWithdrawal, ...] = ()

    @classmethod
    def loads(cls, text: str) -> Scenario:
        """Read a scenario; ``UsageError`` names what is wrong in it."""
        try:
            return read_object(tomllib.loads(text), "scenario", _scenario)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"the scenario is not TOML: {error}") from error
        except DocumentTypeError as error:
            raise UsageError(error.sentence, **error.facts) from error

    @property
    def systems(self) -> tuple[str, ...]:
        """Every os that it speaks of, in order of the alphabet."""
        return tuple(sorted({base.os for base in self.bases}))

    @property
    def trees(self) -> tuple[str, ...]:
        """The names of the trees for which a directory is needed."""
        components = [one.components for one in self.bases] + [one.components for one in self.improvements]
        return tuple(sorted({tree for named in components for tree in named.values()}))

    @property
    def days(self) -> tuple[int, ...]:
        """The days on which something changes, in order."""
        found = {base.day for base in self.bases} | {one.day for one in self.withdrawals}
        found |= {day for one in self.improvements for day in (one.first_day, one.day)}
        return tuple(sorted(found))

    def withdrawn_by(self, day: int) -> dict[str, str]:
        """The improvements that are withdrawn on a day, each with what devices do."""
        return {one.id: one.action for one in self.withdrawals if one.day <= day}

    def base_of(self, improvement: ScenarioImprovement) -> ScenarioBase:
        """The base that an improvement is for."""
        key = (improvement.os, improvement.base_build)
        return next(base for base in self.bases if (base.os, base.build) == key)

    def in_order(self) -> Iterator[ScenarioImprovement]:
        """The improvements in the order in which they can be built: by system and sequence."""
        return iter(sorted(self.improvements, key=lambda one: (one.os, one.sequence)))


def read_fixes(text: str) -> tuple[Fix, ...]:
    """The ``[[cves]]`` of a TOML file that holds nothing else; ``UsageError`` names what is wrong."""
    try:
        return read_object(tomllib.loads(text), "fixes", lambda source: source.list_of("cves", Fix.read))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the fixes are not TOML: {error}") from error
    except DocumentTypeError as error:
        raise UsageError(error.sentence, **error.facts) from error


def _scenario(source: Fields) -> Scenario:
    source.number("format", least=SCENARIO_FORMAT, most=SCENARIO_FORMAT)
    serial, catalogue = source.nested("catalogue", _catalogue)
    channel, phase, permits = source.nested("permits", _permits)
    improvements = source.list_of("improvements", lambda each: _improvement(each, channel))
    scenario = Scenario(
        name=source.text("name"),
        roles=source.nested("roles", lambda roles: {role: roles.nested(role, _role) for role in ROLES}),
        cves=source.list_of("cves", Fix.read),
        bases=source.list_of("bases", _base),
        improvements=improvements,
        catalogue=catalogue,
        catalogue_serial=serial,
        permits=permits,
        channel=channel,
        phase=phase,
        withdrawals=source.list_of("withdrawals", _withdrawal) if source.has("withdrawals") else (),
    )
    _check_whole(scenario, source)
    return scenario


def _role(source: Fields) -> dict[str, KeyCount]:
    return {algorithm: source.nested(algorithm, _key_count) for algorithm in ALGORITHMS}


def _key_count(source: Fields) -> KeyCount:
    keys = source.number("keys", least=1, most=MAX_KEYS)
    return KeyCount(needed=source.number("needed", least=1, most=keys), keys=keys)


def _base(source: Fields) -> ScenarioBase:
    return ScenarioBase(
        os=source.text("os", fields.OS),
        version=source.text("version", fields.VERSION),
        build=source.text("build", fields.BUILD),
        day=source.number("day", least=-_FAR, most=_FAR),
        components=source.named_texts("components", fields.COMPONENT, fields.TEXT),
        includes=source.texts("includes", fields.CVE) if source.has("includes") else (),
        names=source.choice("names", NAMES) if source.has("names") else NAMES[0],
        exclude=source.texts("exclude") if source.has("exclude") else (),
    )


def _withdrawal(source: Fields) -> ScenarioWithdrawal:
    return ScenarioWithdrawal(
        id=source.text("id", fields.IMPROVEMENT),
        action=source.choice("action", WITHDRAWALS),
        day=source.number("day", least=-_FAR, most=_FAR),
    )


def _improvement(source: Fields, channel: str) -> ScenarioImprovement:
    return ScenarioImprovement(
        id=source.text("id", fields.IMPROVEMENT),
        os=source.text("os", fields.OS),
        base_build=source.text("base_build", fields.BUILD),
        letter=source.text("letter", fields.LETTER),
        build=source.text("build", fields.BUILD),
        sequence=source.number("sequence", least=1),
        day=source.number("day", least=-_FAR, most=_FAR),
        expires_after=source.number("expires_after", least=1, most=_FAR),
        models=source.texts("models", fields.MODEL),
        activation=source.choice("activation", ACTIVATIONS),
        processes=source.texts("processes"),
        cves=source.texts("cves", fields.CVE),
        components=source.named_texts("components", fields.COMPONENT, fields.TEXT),
        channel=source.choice("channel", CHANNELS) if source.has("channel") else channel,
        seed_day=source.number("seed_day", least=-_FAR, most=_FAR) if source.has("seed_day") else None,
    )


def _catalogue(source: Fields) -> tuple[int, ScenarioDates]:
    return source.number("serial", least=1), _dates(source, most=_FAR)


def _permits(source: Fields) -> tuple[str, int, ScenarioDates]:
    channel = source.choice("channel", CHANNELS)
    return channel, source.number("phase", most=MAX_PHASE), _dates(source, most=LIFETIME // DAY)


def _dates(source: Fields, *, most: int) -> ScenarioDates:
    return ScenarioDates(
        day=source.number("day", least=-_FAR, most=_FAR),
        expires_after=source.number("expires_after", least=1, most=most),
    )


def _check_whole(scenario: Scenario, source: Fields) -> None:
    keys = [(base.os, base.build) for base in scenario.bases]
    if len(set(keys)) != len(keys):
        raise source.refuse("bases", "one system and build stands there twice")
    known = {fix.cve for fix in scenario.cves}
    if len(known) != len(scenario.cves):
        raise source.refuse("cves", "the same hole is listed twice")
    strange = sorted({one.id for one in scenario.withdrawals} - {one.id for one in scenario.improvements})
    if strange:
        raise source.refuse("withdrawals", f"{strange[0]} is not among the improvements")
    for one in scenario.improvements:
        if (one.os, one.base_build) not in keys:
            raise source.refuse("improvements", f"{one.id}: no base is {one.os} {one.base_build}")
        foreign = sorted(set(one.components) - set(scenario.base_of(one).components))
        if foreign:
            raise source.refuse("improvements", f"{one.id}: its base has no component {foreign[0]}")
        unknown = sorted(set(one.cves) - known)
        if unknown:
            raise source.refuse("improvements", f"{one.id}: {unknown[0]} is not among the cves")
