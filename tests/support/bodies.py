"""Hypothesis strategies for the bodies of documents: every value that is well formed may come."""

from __future__ import annotations

import string

from hypothesis import strategies as st

from deltaseal.manifest import (
    HARD_CAP,
    LIFETIME,
    ROUTE_BASELINE,
    ROUTE_LETTER,
    ROUTE_WHOLE,
    Base,
    BundleManifest,
    Catalogue,
    CatalogueBase,
    ComponentChange,
    DeviceManifest,
    Fix,
    Limits,
    Listed,
    Personal,
    Request,
    Route,
    Withdrawal,
)

MOST = 2**53

digests = st.integers(0, 2**256 - 1).map("{:064x}".format)
tokens = st.integers(0, 2**128 - 1).map("{:032x}".format)
systems = st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True).filter(str.isascii)
versions = st.lists(st.integers(0, 999_999), min_size=1, max_size=3).map(
    lambda parts: ".".join(map(str, parts))
)
letters = st.sampled_from(string.ascii_lowercase)
builds = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12)
names = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=12)
cves = st.integers(1, 99_999).map("CVE-2026-{}".format)
# Direction marks and controls are what no text may hold; the strict reader's own tests cover them.
texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cf")), min_size=1, max_size=40)
numbers = st.integers(0, MOST)
positive = st.integers(1, MOST)


def lists(of: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    """Lists of different texts."""
    return st.lists(of, unique=True, max_size=4).map(tuple)


bases = st.builds(
    Base,
    os=systems,
    version=versions,
    build=builds,
    components=st.dictionaries(names, digests, max_size=3),
    names=st.sampled_from(("sensitive", "insensitive")),
    exclude=lists(texts),
)

fixes = st.builds(
    Fix,
    cve=cves,
    component=names,
    title=st.just("") | texts,
    impact=st.just("") | texts,
    cause=st.just("") | texts,
    credit=st.just("") | texts,
    reference=st.just("") | texts,
    exploitation=st.sampled_from(("not-stated", "none-known", "reported")),
)

_payload = {"sha256": digests, "size": positive, "written_bytes": numbers, "written_files": numbers}
_baseline = st.builds(Route, st.just(ROUTE_BASELINE), **_payload)
_whole = st.builds(Route, st.just(ROUTE_WHOLE), **_payload)
_letter = st.builds(Route, st.just(ROUTE_LETTER), **_payload, from_letter=letters, from_tree=digests)

changes = st.builds(
    ComponentChange,
    base_tree=digests,
    result_tree=digests,
    result_bytes=numbers,
    result_entries=numbers,
    routes=st.tuples(
        _baseline.map(lambda one: (one,)),
        st.lists(_letter, unique_by=lambda one: one.from_letter, max_size=2).map(tuple),
        st.lists(_whole, max_size=1).map(tuple),
    ).map(lambda parts: (*parts[0], *parts[1], *parts[2])),
)

limits = st.builds(
    Limits,
    output_bytes=st.integers(0, HARD_CAP.output_bytes),
    memory_bytes=st.integers(0, HARD_CAP.memory_bytes),
    seconds=st.integers(0, HARD_CAP.seconds),
    entries=st.integers(0, HARD_CAP.entries),
)

manifests = st.builds(
    BundleManifest,
    id=names,
    os=systems,
    version=versions,
    letter=letters,
    build=builds,
    base_build=builds,
    sequence=positive,
    issued=numbers,
    models=lists(builds),
    activation=st.sampled_from(("relaunch", "restart")),
    processes=lists(texts),
    cves=st.lists(fixes, unique_by=lambda fix: fix.cve, max_size=3).map(tuple),
    components=st.dictionaries(names, changes, min_size=1, max_size=2),
    limits=limits,
).filter(
    lambda manifest: (
        len({route.sha256 for change in manifest.components.values() for route in change.routes})
        == sum(len(change.routes) for change in manifest.components.values())
    )
)

_whom = st.tuples(lists(builds), st.none()) | st.tuples(st.none(), st.builds(Personal, tokens, tokens))
_life = st.tuples(st.integers(0, MOST - LIFETIME), st.integers(1, LIFETIME))

permits = st.tuples(_whom, _life).flatmap(
    lambda drawn: st.builds(
        DeviceManifest,
        id=names,
        os=systems,
        bundle=digests,
        models=st.just(drawn[0][0]),
        personal=st.just(drawn[0][1]),
        channel=st.sampled_from(("seed", "stable")),
        phase=st.integers(0, 10_000),
        issued=st.just(drawn[1][0]),
        expires=st.just(drawn[1][0] + drawn[1][1]),
        paused=st.booleans(),
    )
)

catalogues = st.builds(
    Catalogue,
    os=systems,
    serial=positive,
    issued=st.integers(0, 1000),
    expires=st.integers(1001, MOST),
    minimum_sequence=numbers,
    bases=st.lists(
        st.builds(CatalogueBase, versions, builds, lists(cves)), unique_by=lambda base: base.build, max_size=3
    ).map(tuple),
    improvements=st.lists(
        st.builds(Listed, names, letters, builds, digests, positive, numbers, lists(cves)),
        unique_by=lambda entry: entry.id,
        max_size=3,
    ).map(tuple),
    withdrawals=st.lists(
        st.builds(Withdrawal, names, st.sampled_from(("keep", "remove", "pin")), lists(cves)),
        unique_by=lambda order: order.id,
        max_size=2,
    ).map(tuple),
)

requests = st.builds(
    Request, personal=st.builds(Personal, tokens, tokens), os=systems, model=builds, build=builds
)
