"""All deltas for many bases, models and components: planned once, made once, kept where they are worth it.

Formats and rules: docs/spec/matrix.md. ``build`` plans, runs what the cache has not got on an executor
(``LocalExecutor``, ``DaskExecutor``), chooses and writes; ``verify`` applies every delta again.
"""

from typing import TYPE_CHECKING

from deltaseal._lazy import homes_in, names_from

if TYPE_CHECKING:
    from deltaseal.lab.matrix.building import Built, BuiltCell, build, look
    from deltaseal.lab.matrix.cache import Cache
    from deltaseal.lab.matrix.choice import Choice, Served
    from deltaseal.lab.matrix.cluster import SCHEME, DaskExecutor
    from deltaseal.lab.matrix.jobs import Task, toolchain
    from deltaseal.lab.matrix.local import LocalExecutor
    from deltaseal.lab.matrix.proving import Fault, Verified, verify
    from deltaseal.lab.matrix.releases import Population, Releases, load_population
    from deltaseal.lab.matrix.schedule import Executor, Watch

_NAMES = {
    "building": ("Built", "BuiltCell", "build", "look"),
    "cache": ("Cache",),
    "choice": ("Choice", "Served"),
    "cluster": ("SCHEME", "DaskExecutor"),
    "jobs": ("Task", "toolchain"),
    "local": ("LocalExecutor",),
    "releases": ("Population", "Releases", "load_population"),
    "schedule": ("Executor", "Watch"),
    "proving": ("Fault", "Verified", "verify"),
}

__all__ = [
    "SCHEME",
    "Built",
    "BuiltCell",
    "Cache",
    "Choice",
    "DaskExecutor",
    "Executor",
    "Fault",
    "LocalExecutor",
    "Population",
    "Releases",
    "Served",
    "Task",
    "Verified",
    "Watch",
    "build",
    "load_population",
    "look",
    "toolchain",
    "verify",
]

__getattr__ = names_from(__name__, homes_in(__name__, _NAMES))
