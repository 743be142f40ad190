"""The client: the one module that devices and TUF's conformance suite call."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import conformance_client
from support.devices import BUILD, DAY, MODEL, bundle
from support.loopback import Served, serving
from support.repository import NOW, Mirror, Vendor, keys, role
from tuf.api.metadata import DelegatedRole, Delegations, Targets

from deltaseal.errors import DeltasealError
from deltaseal.repo import client, layout, remote
from deltaseal.repo.client import Wanted, refresh
from deltaseal.repo.metadata import rule_values, tuf_key
from deltaseal.repo.trusted import K_OF_EACH, PLAIN_TUF

ADAPTER = Path(conformance_client.__file__)


@pytest.fixture
def vendor() -> Vendor:
    return Vendor().release(bundle("a"))


def now(files: object) -> int:
    return NOW


def believed(vendor: Vendor, *wanted: Wanted) -> dict[str, bytes]:
    done = refresh(Mirror(vendor.files), {"root.json": vendor.root()}, wanted=wanted, now=now)
    return dict(done.whole())


CATALOGUE = Wanted("macos/catalogue", "catalogue", layout.MAX_CATALOGUE)
OFFERS = Wanted(layout.offers_path("macos", BUILD, MODEL), "offers", layout.MAX_OFFERS)


def test_the_conformance_suite_runs_against_the_module_that_devices_use() -> None:
    assert conformance_client.client is client
    assert remote.refresh is client.refresh
    assert remote.refresh_from_any.__module__ == client.__name__
    assert conformance_client.PLAIN_TUF is PLAIN_TUF
    assert client.refresh.__kwdefaults__["policy"] is K_OF_EACH


def adapter(folder: Path, *rest: str) -> int:
    return subprocess.run(
        [sys.executable, str(ADAPTER), "--metadata-dir", str(folder), *rest],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ADAPTER.parents[1])},
    ).returncode


def test_basic_init_and_refresh_and_download(vendor: Vendor, tmp_path: Path) -> None:
    """As the suite calls it, for one whole round."""
    (tmp_path / "md").mkdir()
    (tmp_path / "targets").mkdir()
    (tmp_path / "root.json").write_bytes(vendor.root())
    assert adapter(tmp_path / "md", "init", str(tmp_path / "root.json")) == 0
    with serving(Served(vendor.files.get)) as served:
        at = ["--metadata-url", f"{served.url}/metadata"]
        assert adapter(tmp_path / "md", *at, "refresh") == 0
        given = [*at, "--target-base-url", f"{served.url}/targets", "--target-dir", str(tmp_path / "targets")]
        asked = [*given, "--target-name", "macos/catalogue"]
        assert adapter(tmp_path / "md", *asked, "download") == 0
        count = len(served.asked)
        assert adapter(tmp_path / "md", *asked, "download") == 0
        assert not [line for line in served.asked[count:] if line.startswith("targets")]
        assert adapter(tmp_path / "md", *given, "--target-name", "nothing", "download") == 1
    assert (tmp_path / "targets" / "macos%2Fcatalogue").read_bytes() == vendor.listed().to_bytes()
    names = sorted(path.name for path in (tmp_path / "md").iterdir())
    assert names[-4:] == ["root.json", "snapshot.json", "targets.json", "timestamp.json"]


def test_cached_role_is_verified_against_current_delegator(vendor: Vendor) -> None:
    """A role file that was good under one delegator is not good under another that names other keys."""
    files = believed(vendor, CATALOGUE, OFFERS)
    thief = keys("personaliser", 9)
    by_id = {key.keyid: key for key in (tuf_key(each.public) for each in thief)}

    def delegate(body: Targets) -> None:
        body.version += 1
        fields = rule_values(role("personaliser", 9))
        other = DelegatedRole("personaliser", list(by_id), 2, False, ["macos/bases/*"], None, fields)
        body.delegations = Delegations(by_id, {"personaliser": other})

    vendor.forge("release-macos", delegate, keys("release:macos")).reseal()
    missing = Wanted("macos/bases/none", "other", 10)  # is looked for under the release role's delegation
    for policy in (PLAIN_TUF, K_OF_EACH):
        done = refresh(Mirror(vendor.files), files, wanted=[OFFERS, missing], now=now, policy=policy)
        assert done.failure is not None
        assert done.failure.reason == "E_SIG"
        assert "other" not in done.files


def test_a_role_that_lost_its_delegation_is_dropped(vendor: Vendor) -> None:
    """TUF keeps it in the folder; here every file must be named by somebody who is believed."""
    files = believed(vendor, CATALOGUE, OFFERS)

    def undelegate(body: Targets) -> None:
        body.version += 1
        assert body.delegations is not None and body.delegations.roles is not None
        del body.delegations.roles["personaliser"]

    vendor.forge("targets", undelegate, [keys("targets")[0], keys("targets")[2]]).reseal()
    assert refresh(Mirror(vendor.files), files, now=now, policy=PLAIN_TUF).failure is None
    done = refresh(Mirror(vendor.files), files, now=now)
    assert done.failure is not None and done.failure.reason == "E_SIG"
    assert done.files == files


def test_what_passed_before_a_failure_is_kept(vendor: Vendor) -> None:
    files = believed(vendor, CATALOGUE)
    vendor.renew(later=60)
    newer = vendor.body("timestamp").version
    del vendor.files[next(name for name in vendor.files if name.startswith("targets/offers"))]
    done = refresh(Mirror(vendor.files), files, wanted=[CATALOGUE, OFFERS], now=now)
    assert done.failure is not None and done.failure.reason == "E_NET"
    assert done.files["catalogue"] == files["catalogue"]
    assert b'"version":%d' % newer in done.files["timestamp.json"]


def test_targets_that_are_there_are_not_fetched_again(vendor: Vendor) -> None:
    files = believed(vendor, CATALOGUE, OFFERS)
    mirror = Mirror(vendor.files)
    assert refresh(mirror, files, wanted=[CATALOGUE, OFFERS], now=now).whole() == files
    assert mirror.asked == ["metadata/2.root.json", "metadata/timestamp.json"]


def test_a_target_that_is_gone_is_forgotten(vendor: Vendor) -> None:
    from deltaseal.manifest import Withdrawal

    files = believed(vendor, CATALOGUE, OFFERS)
    vendor.release(bundle("a"), withdrawals=(Withdrawal("macos-26.3.1-a", "keep", ("CVE-2026-20643",)),))
    done = refresh(Mirror(vendor.files), files, wanted=[CATALOGUE, OFFERS], now=now)
    assert "offers" in files and "offers" not in done.whole()


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"\xff", b"{" * 100_000, b'{"signed": {"_type": "root"}}']
)
@pytest.mark.parametrize(
    "name", ["metadata/2.root.json", "metadata/timestamp.json", "metadata/2.snapshot.json"]
)
def test_hostile_bytes_in_place_of_metadata(vendor: Vendor, name: str, data: bytes) -> None:
    files = {"root.json": vendor.root()}
    vendor.files[name] = data
    done = refresh(Mirror(vendor.files), files, now=now)
    assert done.failure is not None
    assert done.failure.reason in ("E_TYPE", "E_DIGEST", "E_LIMIT")


def test_a_root_that_is_no_root() -> None:
    for data in (b"", b"{}", Vendor().files["metadata/timestamp.json"]):
        done = refresh(Mirror({}), {"root.json": data}, now=now)
        assert done.failure is not None and done.failure.reason == "E_TYPE"


def test_too_many_bins(vendor: Vendor) -> None:
    """A personaliser whose keys were stolen delegates to four billion names."""
    from tuf.api.metadata import SuccinctRoles

    by_id = {key.keyid: key for key in (tuf_key(each.public) for each in keys("personaliser"))}

    def spread(body: Targets) -> None:
        body.version += 1
        bins = SuccinctRoles(list(by_id), 2, 32, "offers", rule_values(role("personaliser")))
        body.targets, body.delegations = {}, Delegations(by_id, succinct_roles=bins)

    files = believed(vendor, CATALOGUE)
    vendor.forge("personaliser", spread, keys("personaliser")).reseal()
    done = refresh(Mirror(vendor.files), files, wanted=[CATALOGUE, OFFERS], now=now)
    assert done.failure is not None and done.failure.reason in ("E_LIMIT", "E_TYPE")


def test_too_many_signatures(vendor: Vendor) -> None:
    from securesystemslib.signer import Signature
    from tuf.api.metadata import Metadata

    from deltaseal.repo.metadata import dump, good_keys

    metadata: Metadata[Targets] = Metadata.from_bytes(vendor.files["metadata/timestamp.json"])
    for number in range(70):
        metadata.signatures[f"{number:064x}"] = Signature(f"{number:064x}", "00" * 64)
    with pytest.raises(DeltasealError) as error:
        good_keys(role("timestamp"), metadata)
    assert error.value.reason == "E_LIMIT"
    assert len(dump(metadata)) < layout.MAX_TIMESTAMP


def test_the_floor_of_time_is_asked_for_after_the_signatures(vendor: Vendor) -> None:
    asked: list[int] = []

    def late(files: object) -> int:
        asked.append(1)
        return NOW + DAY

    done = refresh(Mirror(vendor.files), {"root.json": vendor.root()}, now=late)
    assert done.failure is not None and done.failure.reason == "E_EXPIRED"
    assert asked
    asked.clear()
    vendor.forge("timestamp", lambda t: setattr(t, "version", 9), [keys("timestamp")[0]])
    refresh(Mirror(vendor.files), {"root.json": vendor.root()}, now=late)
    assert len(asked) <= 1
