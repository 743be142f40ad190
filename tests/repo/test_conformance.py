"""What must hold of the client as a client of TUF, under the names that TUF's conformance suite uses.

The suite itself runs beside the project (tests/support/conformance_client.py); these run always. Each refusal
has its code, and what was believed before it.
"""

from __future__ import annotations

from typing import Any

import pytest
from support.plain_tuf import LATER, PAST, TOP, PlainClient, PlainRepository, place_of, signer, signer_of
from tuf.api.metadata import Metadata, MetaFile, TargetFile

Repo = PlainRepository
ALL_ONE = dict.fromkeys(TOP, 1)


@pytest.fixture
def repo() -> Repo:
    return PlainRepository()


@pytest.fixture
def client(repo: Repo) -> PlainClient:
    return PlainClient(repo)


def up_to_date(repo: Repo) -> PlainClient:
    client = PlainClient(repo)
    assert client.refresh() == "ok"
    return client


# ---- a round -----------------------------------------------------------------------------------------


def test_basic_refresh_requests(client: PlainClient) -> None:
    assert client.refresh() == "ok"
    assert client.asked == ["2.root", "timestamp", "1.snapshot", "1.targets"]


def test_basic_refresh_trusted_data(repo: Repo, client: PlainClient) -> None:
    assert client.refresh() == "ok"
    assert client.files == {f"{role}.json": repo.files[place_of(role, 1)] for role in TOP}


def test_implicit_refresh(client: PlainClient) -> None:
    client.refresh("nothing")
    assert client.target("nothing") is None
    assert client.versions() == ALL_ONE


def test_metadata_bytes_match(repo: Repo, client: PlainClient) -> None:
    repo.files["metadata/timestamp.json"] += b" "
    assert client.refresh() == "ok"
    assert client.files["timestamp.json"] == repo.files["metadata/timestamp.json"]


def test_custom_fields(repo: Repo) -> None:
    client = up_to_date(repo)
    repo.root.unrecognized_fields["more"] = {"a": [1, "two"]}
    repo.root.roles["root"].unrecognized_fields["more"] = "value"
    repo.publish("root")
    assert client.refresh() == "ok"
    assert client.version("root") == 2


def test_deprecated_keyid_hash_algorithms(repo: Repo) -> None:
    client = up_to_date(repo)
    repo.give("snapshot", [signer(1)])
    repo.root.keys[signer(1).public_key.keyid].unrecognized_fields["keyid_hash_algorithms"] = "md5"
    repo.publish("root", "snapshot", "timestamp")
    assert client.refresh() == "ok"
    assert (client.version("root"), client.version("snapshot")) == (2, 2)


# ---- what is not signed, or not what it says ---------------------------------------------------------


def begin_with(repo: Repo, root: bytes) -> str:
    client = PlainClient(repo, {"root.json": root})
    code = client.refresh()
    assert client.asked == []
    return code


def test_invalid_initial_root(repo: Repo) -> None:
    assert begin_with(repo, repo.files[place_of("root", 1)].replace(b'"version"', b'"v"')) == "E_TYPE"


def test_unsigned_initial_root(repo: Repo) -> None:
    repo.bend("root", lambda values: values["signatures"][0].update(sig="00" * 64))
    assert begin_with(repo, repo.files[place_of("root", 1)]) == "E_SIG"


BEFORE = {
    "root": {"root": 1},
    "timestamp": {"root": 2},
    "snapshot": {"root": 2, "timestamp": 2},
    "targets": {"root": 2, "timestamp": 2, "snapshot": 2},
}


@pytest.mark.parametrize("role", BEFORE)
def test_unsigned_metadata(repo: Repo, client: PlainClient, role: str) -> None:
    repo.signers[role].clear()
    repo.publish(*TOP)
    assert client.refresh() == "E_SIG"
    assert client.versions() == BEFORE[role]


@pytest.mark.parametrize("role", ["root", "snapshot", "targets"])
def test_url_and_metadata_version_mismatch(repo: Repo, client: PlainClient, role: str) -> None:
    repo.publish(*TOP)
    repo.bodies[role].version = 3
    repo.put(role, at=2)
    repo.bodies[role].version = 2
    if role == "targets":
        repo.snapshot.meta["targets.json"] = MetaFile(2)
    assert client.refresh() in ("E_SIG", "E_SEQ")
    assert client.versions() == BEFORE[role]


def test_incorrect_metadata_type(repo: Repo, client: PlainClient) -> None:
    repo.add_key("snapshot", repo.signers["timestamp"][0])  # so that nothing but the type is wrong
    repo.publish("root", "snapshot")
    repo.files["metadata/timestamp.json"] = repo.files[place_of("snapshot", 2)]
    assert client.refresh() == "E_TYPE"
    assert client.versions() == {"root": 2}


def test_basic_metadata_hash_support(repo: Repo, client: PlainClient) -> None:
    repo.with_hashes = True
    repo.publish("targets", "snapshot", "timestamp")
    assert repo.timestamp.snapshot_meta.hashes and repo.snapshot.meta["targets.json"].hashes
    assert client.refresh() == "ok"


def other_digits(repo: Repo, role: str) -> None:
    """Serve a role file with another signature: as long as before, with another digest."""
    place = place_of(role, repo.bodies[role].version)
    sig = next(iter(Metadata.from_bytes(repo.files[place]).signatures.values())).signature
    repo.files[place] = repo.files[place].replace(sig.encode(), sig[::-1].encode())


def test_targets_hash_mismatch(repo: Repo) -> None:
    repo.with_hashes = True
    repo.publish("targets", "snapshot", "timestamp")
    client = up_to_date(repo)
    repo.publish("targets", "snapshot", "timestamp")
    other_digits(repo, "targets")
    assert client.refresh() == "E_DIGEST"
    assert (client.version("snapshot"), client.version("targets")) == (3, 2)


def test_snapshot_hash_mismatch(repo: Repo) -> None:
    repo.with_hashes = True
    repo.publish("snapshot", "timestamp")
    client = up_to_date(repo)
    repo.publish("snapshot", "timestamp")
    other_digits(repo, "snapshot")
    assert client.refresh() == "E_DIGEST"
    assert (client.version("timestamp"), client.version("snapshot")) == (3, 2)


@pytest.mark.parametrize("role", ["snapshot", "targets"])
def test_metadata_longer_than_it_is_named(repo: Repo, role: str) -> None:
    repo.with_hashes = True
    repo.publish("targets", "snapshot", "timestamp")
    client = up_to_date(repo)
    repo.publish("targets", "snapshot", "timestamp")
    repo.files[place_of(role, 3)] += b" "
    assert client.refresh() == "E_LIMIT"
    assert client.version(role) == 2


# ---- what is not there -------------------------------------------------------------------------------


def not_found(repo: Repo, role: str) -> None:
    client = up_to_date(repo)
    repo.publish("targets", "snapshot", "timestamp")
    del repo.files[place_of(role, 2)]
    assert client.refresh() == "E_NET"
    reached = ["timestamp", "snapshot", "targets"]
    expected = {each: 2 if reached.index(each) < reached.index(role) else 1 for each in reached}
    assert client.versions() == {"root": 1, **expected}


def test_timestamp_404(repo: Repo) -> None:
    not_found(repo, "timestamp")


def test_snapshot_404(repo: Repo) -> None:
    not_found(repo, "snapshot")


def test_targets_404(repo: Repo) -> None:
    not_found(repo, "targets")


def test_delegation_not_in_snapshot(repo: Repo) -> None:
    client = PlainClient(repo)
    repo.delegate("targets", "delegated", ["there/*"])
    repo.publish("delegated", "targets")
    del repo.snapshot.meta["delegated.json"]
    repo.publish("snapshot", "timestamp")
    assert client.refresh() == "ok"
    client.refresh("there/x")
    assert client.version("delegated") is None
    assert client.target("there/x") is None
    assert "1.delegated" not in client.asked


# ---- time --------------------------------------------------------------------------------------------


def expired(repo: Repo, role: str, *newer: str) -> None:
    client = up_to_date(repo)
    repo.bodies[role].expires = PAST
    repo.publish(*TOP)
    assert client.refresh() == "E_EXPIRED"
    assert client.versions() == {each: 2 if each in newer else 1 for each in TOP}


def test_root_expired(repo: Repo) -> None:
    expired(repo, "root", "root")  # taken in before its end is looked at: nothing else could replace it


def test_timestamp_expired(repo: Repo) -> None:
    expired(repo, "timestamp", "root")


def test_snapshot_expired(repo: Repo) -> None:
    expired(repo, "snapshot", "root", "timestamp")


def test_targets_expired(repo: Repo) -> None:
    expired(repo, "targets", "root", "timestamp", "snapshot")


def test_expired_local_root(repo: Repo) -> None:
    repo.root.expires = PAST
    repo.publish("root")
    client = PlainClient(repo, {"root.json": repo.files[place_of("root", 2)]})
    assert client.refresh() == "E_EXPIRED"
    repo.root.expires = LATER
    repo.publish("root")
    assert client.refresh() == "ok"
    assert client.version("root") == 3


def test_expired_local_timestamp(repo: Repo) -> None:
    repo.timestamp.expires = PAST
    repo.publish("timestamp")
    ended = repo.files["metadata/timestamp.json"]
    repo.timestamp.expires = LATER
    repo.publish("targets", "snapshot", "timestamp")
    client = PlainClient(repo, {"root.json": repo.files[place_of("root", 1)], "timestamp.json": ended})
    assert client.refresh() == "ok"
    assert client.versions() == {"root": 1, "targets": 2, "snapshot": 2, "timestamp": 3}


# ---- going back --------------------------------------------------------------------------------------


def test_new_timestamp_version_rollback(repo: Repo) -> None:
    repo.publish("timestamp")
    client = up_to_date(repo)
    repo.timestamp.version = 1
    repo.put("timestamp")
    assert client.refresh() == "E_SEQ"
    assert client.version("timestamp") == 2


def test_timestamp_content_changes(repo: Repo) -> None:
    client = up_to_date(repo)
    before = client.files["timestamp.json"]
    repo.timestamp.snapshot_meta.version = 100
    repo.put("timestamp")  # the same version
    assert client.refresh() == "ok"
    assert client.files["timestamp.json"] == before


@pytest.mark.parametrize("with_hashes", [False, True], ids=["basic", "with hashes"])
def test_snapshot_rollback(repo: Repo, with_hashes: bool) -> None:
    repo.with_hashes = with_hashes
    repo.publish("snapshot", "timestamp")
    client = up_to_date(repo)
    repo.snapshot.version = 1
    repo.timestamp.snapshot_meta.version = 1
    repo.put("snapshot")
    repo.publish("timestamp")
    assert client.refresh() == "E_SEQ"
    assert (client.version("timestamp"), client.version("snapshot")) == (2, 2)


@pytest.mark.parametrize("with_hashes", [False, True], ids=["basic", "with hashes"])
def test_targets_rollback(repo: Repo, with_hashes: bool) -> None:
    repo.with_hashes = with_hashes
    repo.publish("targets", "snapshot", "timestamp")
    client = up_to_date(repo)
    repo.targets.version = 1
    repo.put("targets")
    repo.publish("snapshot", "timestamp")
    assert client.refresh() == "E_SEQ"
    assert (client.version("snapshot"), client.version("targets")) == (2, 2)


def test_targets_role_removal(repo: Repo) -> None:
    repo.delegate("targets", "delegated", ["there/*"])
    repo.publish("delegated", "targets", "snapshot", "timestamp")
    client = up_to_date(repo)
    del repo.snapshot.meta["delegated.json"]
    repo.publish("snapshot", "timestamp")
    assert client.refresh() in ("E_TYPE", "E_SEQ")
    assert client.version("snapshot") == 2


def pushed_far_ahead(repo: Repo, role: str, *rotated: str) -> None:
    order = ["targets", "snapshot", "timestamp"]
    above = order[order.index(role) + 1 :]
    repo.bodies[role].version = 99
    repo.publish(role, *above)
    client = up_to_date(repo)
    assert client.version(role) == 100

    def back() -> None:
        repo.bodies[role].version = 1
        if role == "snapshot":
            repo.timestamp.snapshot_meta.version = 1
        repo.put(role)
        repo.publish(*above)

    back()
    assert client.refresh() == "E_SEQ"
    for number, each in enumerate(rotated):
        repo.give(each, [signer(50 + number)])
    repo.publish("root")
    back()
    assert client.refresh() == "ok"
    assert client.version(role) == 1


def test_targets_fast_forward_recovery(repo: Repo) -> None:
    pushed_far_ahead(repo, "targets", "snapshot")


def test_new_snapshot_fast_forward_recovery(repo: Repo) -> None:
    pushed_far_ahead(repo, "snapshot", "snapshot", "timestamp")


def test_new_timestamp_fast_forward_recovery(repo: Repo) -> None:
    pushed_far_ahead(repo, "timestamp", "timestamp")


# ---- keys and thresholds -----------------------------------------------------------------------------


def test_snapshot_does_not_meet_threshold(repo: Repo) -> None:
    repo.give("snapshot", [signer(n) for n in (1, 2, 3)], needed=3)
    repo.publish(*TOP)
    client = up_to_date(repo)
    repo.signers["snapshot"].pop()
    repo.publish("targets", "snapshot", "timestamp")
    assert client.refresh() == "E_SIG"
    assert client.version("snapshot") == 2


def test_snapshot_has_too_few_keys(repo: Repo, client: PlainClient) -> None:
    repo.give("snapshot", [signer(n) for n in range(5)], needed=6)
    repo.publish("root", "snapshot", "timestamp")
    assert client.refresh() == "E_SIG"
    assert (client.version("root"), client.version("snapshot")) == (2, None)


def test_duplicate_keys(repo: Repo, client: PlainClient) -> None:
    repo.give("snapshot", [signer(1)], needed=3)
    repo.publish("root", "snapshot", "timestamp")

    def three_times(values: Any) -> None:
        values["signed"]["roles"]["snapshot"]["keyids"] *= 3

    repo.bend("root", three_times)  # its signature is void then
    repo.bend("snapshot", lambda values: values.update(signatures=values["signatures"] * 3))
    assert client.refresh() != "ok"
    assert client.version("snapshot") is None
    repo.put("root")  # now the list is honest, the signatures repeat themselves
    assert client.refresh() in ("E_SIG", "E_TYPE")
    assert client.version("snapshot") is None


def test_duplicate_sig_keyids(repo: Repo, client: PlainClient) -> None:
    repo.bend("snapshot", lambda values: values.update(signatures=values["signatures"] * 2))
    assert client.refresh() == "E_TYPE"
    assert client.version("snapshot") is None


@pytest.mark.parametrize("keytype", ["rsa", "ecdsa", "ed25519"])
def test_keytype_and_scheme(repo: Repo, keytype: str) -> None:
    client = up_to_date(repo)
    other = signer_of(keytype)
    assert other.public_key.keytype == keytype
    repo.add_key("root", other)
    repo.root.roles["root"].threshold = 2
    repo.publish("root")
    assert client.refresh() == "ok"
    assert client.version("root") == 2
    before = Metadata.from_bytes(repo.files[place_of("root", 2)]).signatures[other.public_key.keyid].signature
    repo.publish("root")

    def of_another_version(values: Any) -> None:
        for one in values["signatures"]:
            if one["keyid"] == other.public_key.keyid:
                one["sig"] = before

    repo.bend("root", of_another_version)
    assert client.refresh() == "E_SIG"
    assert client.version("root") == 2


@pytest.mark.parametrize("bad", ["00" * 64, ""], ids=["of another file", "empty"])
def test_invalid_sig_in_valid_metadata(repo: Repo, client: PlainClient, bad: str) -> None:
    former = repo.signers["timestamp"][0].public_key.keyid
    repo.add_key("timestamp", signer(1))
    repo.publish("root", "timestamp")

    def spoil(values: Any) -> None:
        for one in values["signatures"]:
            if one["keyid"] == former:
                one["sig"] = bad

    repo.bend("timestamp", spoil)
    assert client.refresh() == "ok"
    assert client.version("timestamp") == 2


# A version of a root: its keys "/" how many must sign ":" who signed; ">" the next, "!" it is refused.
ROOTS = {
    "1-of-1-key-rotation": "1/1:1 > 2/1:21 > 2/1:2",
    "1-of-1-key-rotation-unused-signatures": "1/1:314 > 2/1:3214 > 2/1:324",
    "3-of-5-sign-with-different-keycombos": "01234/3:024 > 01234/3:041 > 01234/3:013 > 01234/3:134",
    "3-of-5-one-key-rotated": "01234/3:024 > 01345/3:041",
    "3-of-5-one-key-rotated-with-intermediate-step": "01234/3:024 > 01345/3:0245 > 01345/3:045",
    "3-of-5-all-keys-rotated-with-intermediate-step": "01234/3:024 > 56789/3:024567 > 56789/3:567",
    "1-of-3-threshold-increase-to-2-of-3": "123/1:1 > 123/2:12",
    "2-of-3-threshold-decrease-to-1-of-3": "123/2:12 > 123/1:12 > 123/1:1",
    "1-of-2-threshold-increase-to-2-of-2": "1/1:1 > 12/2:12",
    "1-of-1-key-rotation-fail-not-signed-with-old-key": "1/1:1 > 2/1:234!",
    "1-of-1-key-rotation-fail-not-signed-with-new-key": "1/1:1 > 2/1:134!",
    "3-of-5-one-key-rotate-fails-not-signed-with-3-new-keys": "01234/3:024 > 01345/3:024!",
    "3-of-5-one-key-rotate-fails-not-signed-with-3-old-keys": "01234/3:024 > 01345/3:045!",
    "1-of-3-threshold-bump-to-2-of-3-fails-new-threshold-not-reached": "123/1:1 > 123/2:2!",
    "2-of-3-threshold-decr-to-1-of-3-fails-old-threshold-not-eached": "123/2:12 > 123/1:1!",
}


def let_sign(repo: Repo, role: str, written: str) -> None:
    """Give a role the keys and the signers that a table writes for it."""
    keys, _, signers = written.partition(":")
    names, _, needed = keys.partition("/")
    repo.give(role, [signer(int(one)) for one in names], needed=int(needed))
    repo.signers[role] = [signer(int(one)) for one in signers]


@pytest.mark.parametrize("written", ROOTS.values(), ids=ROOTS)
def test_root_rotation(repo: Repo, written: str) -> None:
    repo.root.version = 0
    roots = written.removesuffix("!").split(" > ")
    for each in roots:
        let_sign(repo, "root", each)
        repo.publish("root")
    client = PlainClient(repo)
    refused = written.endswith("!")
    assert client.refresh() == ("E_SIG" if refused else "ok")
    assert client.version("root") == len(roots) - refused


OTHERS = {
    "1-of-1-key-rotation": "2/1:2",
    "1-of-1-key-rotation-unused-signatures": "1/1:314",
    "1-of-1-key-rotation-fail-not-signed-with-new-key": "2/1:134!",
    "3-of-5-one-key-signature-wrong-not-signed-with-3-expected-keys": "01345/3:024!",
    "2-of-5-one-key-signature-mising-threshold-not-reached": "01345/3:04!",
    "3-of-5-sign-first-combo": "01234/3:024",
    "3-of-5-sign-second-combo": "01234/3:041",
    "3-of-5-sign-third-combo": "01234/3:013",
    "3-of-5-sign-fourth-combo": "01234/3:123",
    "3-of-5-sign-fifth-combo": "01234/3:234",
}


@pytest.mark.parametrize("written", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_non_root_rotations(repo: Repo, role: str, written: str) -> None:
    client = up_to_date(repo)
    let_sign(repo, role, written.removesuffix("!"))
    repo.publish(*TOP)
    refused = written.endswith("!")
    assert client.refresh() == ("E_SIG" if refused else "ok")
    assert client.version(role) == 2 - refused


# ---- targets -----------------------------------------------------------------------------------------


def test_client_downloads_expected_file(repo: Repo, client: PlainClient, path: str = "file.txt") -> None:
    repo.artifact(path, b"what is in it")
    repo.publish("targets", "snapshot", "timestamp")
    assert client.refresh(path) == "ok"
    assert client.target(path) == b"what is in it"


def test_client_downloads_expected_file_in_sub_dir(repo: Repo, client: PlainClient) -> None:
    test_client_downloads_expected_file(repo, client, "path/to/a/file.txt")


@pytest.mark.parametrize("bad", [b"other bytes!!", b"what is in it, and more", b"what"])
def test_repository_substitutes_target_file(repo: Repo, client: PlainClient, bad: bytes) -> None:
    for path in ("one", "two"):
        repo.artifact(path, b"what is in it")
    repo.publish("targets", "snapshot", "timestamp")
    assert client.refresh("one") == "ok"
    for path in ("one", "two"):
        repo.serve(path, repo.targets.targets[path], bad)
    client.refresh("one")
    assert client.target("one") == b"what is in it"
    assert client.refresh("two") in ("E_DIGEST", "E_LIMIT")
    assert client.target("two") is None


def test_multiple_changes_to_target(repo: Repo, client: PlainClient) -> None:
    for number in range(6):
        data = b"version %d" % number
        repo.artifact("file", data)
        repo.publish("targets", "snapshot", "timestamp")
        if number % 2:
            continue
        assert client.refresh("file") == "ok"
        assert client.target("file") == data
        repo.serve("file", repo.targets.targets["file"], b"forged %d!" % number)
        repo.publish("targets", "snapshot", "timestamp")
        client.refresh("file")
        assert client.target("file") == data


@pytest.mark.parametrize("hashes", [["sha256"], ["sha512"], ["sha256", "sha512"]], ids="+".join)
def test_download_with_hash_algorithms(repo: Repo, client: PlainClient, hashes: list[str]) -> None:
    repo.artifact("file", b"bytes", hashes=hashes)
    repo.publish("targets", "snapshot", "timestamp")
    assert client.refresh("file") == "ok"
    assert client.target("file") == b"bytes"


def test_download_with_unknown_hash_algorithm(repo: Repo, client: PlainClient) -> None:
    info = TargetFile.from_data("file", b"bytes", ["sha512"])
    info.hashes = {"unknown": info.hashes["sha512"]}
    repo.targets.targets["file"] = info
    repo.serve("file", info, b"bytes")
    repo.publish("targets", "snapshot", "timestamp")
    assert client.refresh("file") != "ok"
    assert client.target("file") is None


def test_artifact_cache(repo: Repo, client: PlainClient) -> None:
    repo.artifact("file", b"bytes")
    repo.publish("targets", "snapshot", "timestamp")
    assert client.refresh("file") == "ok"
    assert client.refresh("file") == "ok"
    assert not [name for name in client.mirror.asked if name.startswith("targets/")]


# ---- delegations -------------------------------------------------------------------------------------

# "A>B" A delegates to B, "A>B!" terminating, "A>B(*.py)" only these paths; T are the targets. Then who is
# visited.
GRAPHS = {
    "basic-delegation": ("T>A", "A"),
    "single-level-delegations": ("T>A T>B", "A B"),
    "two-level-delegations": ("T>A T>B B>C", "A B C"),
    "two-level-test-DFS-order-of-traversal": ("T>A T>B A>C A>D", "A C D B"),
    "three-level-delegation-test-DFS-order-of-traversal": ("T>A T>B A>C C>D", "A C D B"),
    "two-level-terminating-ignores-all-but-roles-descendants": ("T>A T>B A>C! A>D", "A C"),
    "three-level-terminating-ignores-all-but-roles-descendants": ("T>A T>B A>C! C>D", "A C D"),
    "two-level-ignores-all-branches-not-matching-paths": ("T>A(*.py) T>B A>C", "B"),
    "three-level-ignores-all-branches-not-matching-paths": ("T>A T>B A>C(*.py) C>D", "A B"),
    "cyclic-graph": ("T>A T>B B>C C>D D>B", "A B C D"),
    "two-roles-delegating-to-a-third": ("T>A T>B B>C A>C", "A C B"),
    "two-roles-delegating-to-a-third-different-paths": ("T>A T>B B>C A>C(*.py)", "A B C"),
}


def draw(repo: Repo, graph: str) -> None:
    """Delegate as a table writes it, and publish."""
    names = {"targets"}
    for edge in graph.split():
        by, _, rest = edge.partition(">")
        by = "targets" if by == "T" else by
        role, _, paths = rest.removesuffix("!").removesuffix(")").partition("(")
        for each in (by, role):
            repo.bodies.setdefault(each, repo.delegate(by, role, ["*"]) if each == role else None)
        allowed = paths.split(",") if paths else ["*"]
        repo.delegate(by, role, allowed, terminating=rest.endswith("!"))
        names |= {by, role}
    repo.publish(*sorted(names), "snapshot", "timestamp")


def visited(client: PlainClient) -> list[str]:
    """The delegated role files that were asked for."""
    return [name.partition(".")[2] for name in client.asked if name.partition(".")[2] not in (*TOP, "")]


@pytest.mark.parametrize(("graph", "order"), GRAPHS.values(), ids=GRAPHS)
def test_graph_traversal(repo: Repo, client: PlainClient, graph: str, order: str) -> None:
    draw(repo, graph)
    client.refresh("nothing")
    assert client.target("nothing") is None
    assert visited(client) == order.split()


SEARCHED = {
    "no delegations": ("targetfile", "", True),
    "targetpath matches wildcard": ("README.md", "A", True),
    "targetpath with separators x": ("releases/x/x_v1", "B C", True),
    "targetpath with separators y": ("releases/y/y_v1.zip", "B D", True),
    "targetpath is not delegated by all roles in the chain": ("releases/z/z_v1.zip", "B", False),
    "wildcard does not match path separator": ("releases/README.md", "", False),
    "targetpath matches question mark wildcard": ("foo-1.tgz", "A", True),
    "targetpath does not match question mark wildcard": ("foo-alpha.tgz", "", False),
    "targetpath matching is case sensitive": ("README.MD", "", False),
}


@pytest.mark.parametrize(("path", "order", "found"), SEARCHED.values(), ids=SEARCHED)
def test_targetfile_search(repo: Repo, client: PlainClient, path: str, order: str, found: bool) -> None:
    draw(repo, "T>A(*.doc,*.md,foo-?.tgz) T>B(releases/*/*) B>C(releases/x/*) B>D(releases/y/*.zip)")
    for each, role in (
        ("targetfile", "targets"),
        ("README.md", "A"),
        ("releases/README.md", "A"),
        ("foo-1.tgz", "A"),
        ("foo-alpha.tgz", "A"),
        ("releases/x/x_v1", "C"),
        ("releases/y/y_v1.zip", "D"),
        ("releases/z/z_v1.zip", "D"),
    ):
        repo.artifact(each, each.encode(), role=role)
    repo.publish("A", "B", "C", "D", "targets", "snapshot", "timestamp")
    client.refresh(path)
    assert client.target(path) == (path.encode() if found else None)
    assert visited(client) == order.split()


def test_cached_role_is_verified_against_current_delegator(repo: Repo, client: PlainClient) -> None:
    """Under one delegator the file is good; under the other, which names another key, it is not."""
    for team, key in (("a", 11), ("b", 12)):
        repo.delegate("targets", f"parent-{team}", [f"team-{team}/*"])
        repo.delegate(f"parent-{team}", "release", [f"team-{team}/*"], key=key)
    for team in ("a", "b"):
        repo.artifact(f"team-{team}/file", team.encode(), role="release")
    repo.publish("release", "parent-a", "parent-b", "targets", "snapshot", "timestamp")
    assert client.refresh("team-a/file", "team-b/file") == "E_SIG"
    assert client.target("team-b/file") is None
    assert client.refresh("team-a/file") == "ok"


@pytest.mark.parametrize("role", ["?", "#", "/delegatedrole", "../delegatedrole"])
def test_unusual_role_name(repo: Repo, client: PlainClient, role: str) -> None:
    repo.delegate("targets", role, ["*"])
    repo.publish(role, "targets", "snapshot", "timestamp")
    client.refresh("nothing")
    assert place_of(role, 1) in client.mirror.asked
    assert client.version(role) == 1
    assert len(client.files) == 5
