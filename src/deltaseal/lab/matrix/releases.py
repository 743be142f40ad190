"""RELEASES.toml and POPULATION.toml as values (docs/spec/matrix.md, sections 1 and 7)."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from deltaseal import images
from deltaseal.errors import DocumentTypeError, UsageError
from deltaseal.manifest import fields
from deltaseal.manifest.fields import Fields, read_object
from deltaseal.manifest.releases import NAMES, Names

__all__ = ["BASELINE", "WHOLE", "ComponentDirs", "MatrixBase", "Population", "Releases", "load_population"]

T = TypeVar("T")

BASELINE: Final = "baseline"
WHOLE: Final = "whole"
_FORMAT: Final = 1
_LEAST_SAVING: Final = 10  # percent
_MOST_DEVICES: Final = 10**12
_MOST_MIRRORS: Final = 10**6


@dataclass(frozen=True, slots=True)
class ComponentDirs:
    """Where the trees of one component lie: as on the base, after each lower letter, and what it becomes."""

    baseline: Path
    becomes: Path
    letters: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class MatrixBase:
    """One base and the models that have its bytes."""

    id: str
    os: str
    build: str
    models: tuple[str, ...]
    names: Names
    exclude: tuple[str, ...]
    components: Mapping[str, ComponentDirs]


@dataclass(frozen=True, slots=True)
class Releases:
    """What a release manager wants made on one day."""

    effort: str
    least_saving_percent: int
    bases: tuple[MatrixBase, ...]

    @classmethod
    def load(cls, path: Path) -> Releases:
        """Read a file; directories are relative to it. ``UsageError`` names what is wrong in it."""
        return _read(path, "releases", lambda source: _releases(source, path.parent))


@dataclass(frozen=True, slots=True)
class Population:
    """How many devices of each base have which letter, and how many copies of the output serve them."""

    mirrors: int
    devices: Mapping[str, Mapping[str, int]]  # base id: start (``baseline`` or a letter): devices

    def count(self, base: str, start: str) -> int:
        """Devices of a base that have this letter, or nothing applied."""
        return self.devices.get(base, {}).get(start, 0)


def load_population(path: Path, bases: tuple[str, ...]) -> Population:
    """Read a population of some of these bases; ``UsageError`` names what is wrong in it."""
    return _read(path, "population", lambda source: _population(source, bases))


def _read(path: Path, what: str, read: Callable[[Fields], T]) -> T:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{str(path)!r} is not UTF-8", path=str(path)) from error
    try:
        return read_object(tomllib.loads(text), what, read)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{str(path)!r} is not TOML: {error}", path=str(path)) from error
    except DocumentTypeError as error:
        raise UsageError(error.sentence, hint="docs/spec/matrix.md says what is expected") from error


def _releases(source: Fields, folder: Path) -> Releases:
    source.number("format", least=_FORMAT, most=_FORMAT)
    releases = Releases(
        effort=source.choice("effort", tuple(images.EFFORTS)) if source.has("effort") else "default",
        least_saving_percent=(
            source.number("least_saving_percent", most=100)
            if source.has("least_saving_percent")
            else _LEAST_SAVING
        ),
        bases=source.list_of("bases", lambda base: _base(base, folder)),
    )
    if not releases.bases:
        raise source.refuse("bases", "there is none")
    ids = [base.id for base in releases.bases]
    twice = sorted({id for id in ids if ids.count(id) > 1})
    if twice:
        raise source.refuse("bases", f"{twice[0]} stands there twice")
    _check_models(releases, source)
    return releases


def _check_models(releases: Releases, source: Fields) -> None:
    """One model has one set of bytes for one build."""
    owner: dict[tuple[str, str, str], str] = {}
    for base in releases.bases:
        for model in base.models:
            other = owner.setdefault((base.os, base.build, model), base.id)
            if other != base.id:
                raise source.refuse("bases", f"{base.id} and {other} have the same build and {model} in both")


def _base(source: Fields, folder: Path) -> MatrixBase:
    return MatrixBase(
        id=source.text("id", fields.IMPROVEMENT),
        os=source.text("os", fields.OS),
        build=source.text("build", fields.BUILD),
        models=source.texts("models", fields.MODEL),
        names=source.choice("names", NAMES) if source.has("names") else NAMES[0],
        exclude=source.texts("exclude") if source.has("exclude") else (),
        components=source.named("components", fields.COMPONENT, lambda one: _component(one, folder)),
    )


def _component(source: Fields, folder: Path) -> ComponentDirs:
    letters = source.named_texts("letters", fields.LETTER, fields.TEXT) if source.has("letters") else {}
    return ComponentDirs(
        baseline=folder / source.text("baseline"),
        becomes=folder / source.text("becomes"),
        letters={letter: folder / letters[letter] for letter in sorted(letters)},
    )


def _population(source: Fields, bases: tuple[str, ...]) -> Population:
    source.number("format", least=_FORMAT, most=_FORMAT)
    mirrors = source.number("mirrors", least=1, most=_MOST_MIRRORS)
    devices = source.named("devices", fields.IMPROVEMENT, _counts)
    unknown = sorted(devices.keys() - set(bases))
    if unknown:
        raise source.refuse("devices", f"no base is called {unknown[0]}")
    return Population(mirrors, devices)


def _counts(source: Fields) -> dict[str, int]:
    starts = (BASELINE, *"abcdefghijklmnopqrstuvwxyz")
    return {start: source.number(start, most=_MOST_DEVICES) for start in starts if source.has(start)}
