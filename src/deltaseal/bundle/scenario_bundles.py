"""A scenario made real: bases, bundles, catalogues and device manifests, signed.

Parsing a scenario is :mod:`deltaseal.manifest.scenario`; this half stands here
because it builds bundles, which that room does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deltaseal.bundle.build import ComponentTrees, Earlier, Making, Release, build, make_base
from deltaseal.bundle.layout import Bundle
from deltaseal.errors import UsageError
from deltaseal.manifest import (
    PERSONALISER,
    Base,
    Catalogue,
    CatalogueBase,
    DeviceManifest,
    Personal,
    Published,
    Request,
    Scenario,
    make_catalogue,
    make_permit,
    make_withdrawals,
    release_role,
)
from deltaseal.manifest.scenario import (
    DAY,
    KeyCount,
    ScenarioBase,
    ScenarioDates,
    ScenarioImprovement,
)
from deltaseal.storage import write_output
from deltaseal.trust import ALGORITHMS, PrivateKey, Role, Signer, Trust, UnverifiedDocument, sign

_TRUST_DAYS = 3650  # how long the pinned trust of a scenario lives


@dataclass(frozen=True, slots=True)
class ScenarioSigners:
    """Who signs in a scenario: as many signers a role as its rule needs, and the trust that knows them."""

    trust: Trust
    signers: Mapping[str, Sequence[Signer]]  # by role


@dataclass(frozen=True, slots=True)
class BuiltScenario:
    """Everything that a scenario's publisher hands out, signed."""

    scenario: Scenario
    day_zero: int  # seconds since 1970
    signers: ScenarioSigners
    bases: Mapping[tuple[str, str], UnverifiedDocument]  # by os and build
    bundles: Mapping[str, Bundle]  # by improvement
    catalogues: Mapping[str, UnverifiedDocument]  # by os
    permits: Mapping[tuple[str, str], UnverifiedDocument]  # static ones, by improvement and model

    def personalise(self, improvement: str, request: Request) -> UnverifiedDocument:
        """A device manifest of one improvement for one device, which answers its request."""
        if improvement not in self.bundles:
            raise UsageError(f"the scenario has no improvement {improvement}", id=improvement)
        return _permit(self, self.bundles[improvement], personal=request.personal)

    def catalogue_on(self, os: str, day: int, *, serial: int, expires_after: int) -> UnverifiedDocument:
        """The catalogue of a system as it is on a day: what is there then, and what is withdrawn by then."""
        dates = ScenarioDates(day, expires_after)
        return _catalogue(self.scenario, os, self.bundles, self.day_zero, self.signers, dates, serial)

    def files(self) -> Iterator[tuple[str, Iterator[bytes]]]:
        """Name and bytes, in pieces, of each file that is handed out, the trust file first."""
        yield "trust.json", iter([self.signers.trust.dumps()])
        for (os, build_text), document in self.bases.items():
            yield f"{os}-{build_text}.base", iter([document.to_bytes()])
        for id, bundle in self.bundles.items():
            yield f"{id}.bundle", bundle.chunks()
        for os, document in self.catalogues.items():
            yield f"{os}.catalogue", iter([document.to_bytes()])
        for (id, model), document in self.permits.items():
            yield f"{id}.{_file_name(model)}.manifest", iter([document.to_bytes()])

    def publish(self, directory: Path, *, force: bool = False) -> tuple[Path, ...]:
        """Write every file into an existing directory; returns their paths."""
        written = []
        for name, pieces in self.files():
            write_output(directory / name, pieces, force=force)
            written.append(directory / name)
        return tuple(written)


def make_signers(
    scenario: Scenario, *, day_zero: int, random: Callable[[int], bytes]
) -> tuple[ScenarioSigners, dict[str, list[PrivateKey]]]:
    """Fresh keys for every role of a scenario: the signers and trust, and all private keys by role.

    Of each role the first signers that its rule needs sign; the others are spare.
    """
    counts = {release_role(os): scenario.roles["release"] for os in scenario.systems}
    counts[PERSONALISER] = scenario.roles["personaliser"]
    keys = {role: _keys(of, random) for role, of in counts.items()}
    roles = [
        Role(
            role,
            tuple(key.public for key in keys[role]),
            {algorithm: of[algorithm].needed for algorithm in ALGORITHMS},
        )
        for role, of in counts.items()
    ]
    signers = {role: _enough(keys[role], of) for role, of in counts.items()}
    trust = Trust.of(*roles, expires=day_zero + _TRUST_DAYS * DAY)
    return ScenarioSigners(trust, signers), keys


def save_keys(private: Mapping[str, Sequence[PrivateKey]], directory: Path) -> tuple[Path, ...]:
    """Write each private key into a file of its own, in a new directory; returns the paths.

    Raises ``UsageError`` if the directory exists, and what saving a key raises.
    """
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError as error:
        raise UsageError(
            f"{str(directory)!r} exists already", hint="name a new folder for the keys", path=str(directory)
        ) from error
    written = []
    for role, keys in private.items():
        for number, key in enumerate(keys, 1):
            path = directory / f"{role.replace(':', '-')}.{number}.{key.public.algorithm}.pem"
            key.save(path)
            written.append(path)
    return tuple(written)


def build_scenario(
    scenario: Scenario,
    *,
    trees_at: Mapping[str, Path],
    day_zero: int,
    signers: ScenarioSigners,
    making: Making | None = None,
) -> BuiltScenario:
    """Build everything that a scenario says.

    ``trees_at`` maps each of ``scenario.trees`` to a directory (several may share
    one), ``day_zero`` is in seconds since 1970.  Raises what building, publishing
    and signing raise; a tree without a directory is a ``UsageError``.
    """
    missing = [name for name in scenario.trees if name not in trees_at]
    if missing:
        raise UsageError(f"no directory is given for the trees {', '.join(missing)}", missing=missing)
    bases = {(one.os, one.build): _base(one, trees_at) for one in scenario.bases}
    bundles = _bundles(scenario, bases, trees_at, day_zero, signers, making)
    built = BuiltScenario(
        scenario=scenario,
        day_zero=day_zero,
        signers=signers,
        bases={key: _released(signers, base.os, Base.TYPE, base.dumps()) for key, base in bases.items()},
        bundles=bundles,
        catalogues={
            os: _catalogue(
                scenario, os, bundles, day_zero, signers, scenario.catalogue, scenario.catalogue_serial
            )
            for os in scenario.systems
        },
        permits={},
    )
    permits = {
        (id, model): _permit(built, bundle, models=[model])
        for id, bundle in bundles.items()
        for model in bundle.manifest.models
        if id not in scenario.withdrawn_by(scenario.catalogue.day)
    }
    return replace(built, permits=permits)


def _base(one: ScenarioBase, trees_at: Mapping[str, Path]) -> Base:
    return make_base(
        one.os,
        one.version,
        one.build,
        {name: trees_at[tree] for name, tree in one.components.items()},
        names=one.names,
        exclude=one.exclude,
    )


def _bundles(
    scenario: Scenario,
    bases: Mapping[tuple[str, str], Base],
    trees_at: Mapping[str, Path],
    day_zero: int,
    signers: ScenarioSigners,
    making: Making | None,
) -> dict[str, Bundle]:
    made: dict[str, Bundle] = {}
    earlier: list[Earlier] = []
    for one in scenario.in_order():
        base = scenario.base_of(one)
        results = {name: trees_at[tree] for name, tree in one.components.items()}
        components = {
            name: ComponentTrees(trees_at[base.components[name]], result) for name, result in results.items()
        }
        unsigned = build(
            _release(scenario, one, day_zero),
            bases[base.os, base.build],
            components,
            earlier=earlier,
            making=making,
        )
        made[one.id] = unsigned.signed(signers.signers[release_role(one.os)])
        earlier.append(Earlier(unsigned.manifest, results))
    return made


def _release(scenario: Scenario, one: ScenarioImprovement, day_zero: int) -> Release:
    return Release(
        id=one.id,
        letter=one.letter,
        build=one.build,
        sequence=one.sequence,
        issued=day_zero + one.day * DAY,
        models=one.models,
        activation=one.activation,
        processes=one.processes,
        cves=tuple(fix for fix in scenario.cves if fix.cve in one.cves),
    )


def _catalogue(
    scenario: Scenario,
    os: str,
    bundles: Mapping[str, Bundle],
    day_zero: int,
    signers: ScenarioSigners,
    dates: ScenarioDates,
    serial: int,
) -> UnverifiedDocument:
    issued, expires = _span(dates, day_zero)
    there = (base for base in scenario.bases if base.os == os and base.day <= dates.day)
    bases = sorted(there, key=lambda base: base.day)
    listed = [one for one in scenario.in_order() if one.os == os and one.first_day <= dates.day]
    withdrawn = scenario.withdrawn_by(dates.day)
    catalogue = make_catalogue(
        os=os,
        serial=serial,
        issued=issued,
        expires=expires,
        bases=[CatalogueBase(base.version, base.build, base.includes) for base in bases],
        improvements=[
            Published(
                bundles[one.id].manifest,
                bundles[one.id].digest,
                day_zero + (one.day + one.expires_after) * DAY,
            )
            for one in listed
        ],
        withdrawals=make_withdrawals(
            {one.id: withdrawn[one.id] for one in listed if one.id in withdrawn},
            [bundles[one.id].manifest for one in listed],
        ),
    )
    return _released(signers, os, Catalogue.TYPE, catalogue.dumps())


def _permit(
    built: BuiltScenario,
    bundle: Bundle,
    *,
    models: Sequence[str] | None = None,
    personal: Personal | None = None,
) -> UnverifiedDocument:
    scenario = built.scenario
    issued, expires = _span(scenario.permits, built.day_zero)
    permit = make_permit(
        bundle.manifest,
        bundle.digest,
        issued=issued,
        expires=expires,
        models=models,
        personal=personal,
        channel=scenario.channel,
        phase=scenario.phase,
    )
    return sign(DeviceManifest.TYPE, permit.dumps(), built.signers.signers[PERSONALISER])


def _span(dates: ScenarioDates, day_zero: int) -> tuple[int, int]:
    issued = day_zero + dates.day * DAY
    return issued, issued + dates.expires_after * DAY


def _released(signers: ScenarioSigners, os: str, type: str, body: bytes) -> UnverifiedDocument:
    return sign(type, body, signers.signers[release_role(os)])


def _keys(of: Mapping[str, KeyCount], random: Callable[[int], bytes]) -> list[PrivateKey]:
    return [
        PrivateKey.generate(algorithm, random=random)
        for algorithm in ALGORITHMS
        for _ in range(of[algorithm].keys)
    ]


def _enough(keys: Sequence[PrivateKey], of: Mapping[str, KeyCount]) -> list[PrivateKey]:
    chosen = []
    for algorithm in ALGORITHMS:
        fitting = [key for key in keys if key.public.algorithm == algorithm]
        chosen += fitting[: of[algorithm].needed]
    return chosen


def _file_name(model: str) -> str:
    return "".join(character if character.isalnum() or character in ",._-" else "_" for character in model)
