"""A key that stays in a token: SoftHSM signs metadata and documents through the example's command."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, Mechanism
from pkcs11.util.ec import encode_named_curve_parameters
from support.repository import NOW, ROLES, MemoryFolder, all_keys, keys, role

from deltaseal.errors import SignatureError
from deltaseal.repo import Publisher
from deltaseal.repo.upkeep import states
from deltaseal.trust import CommandSigner, PublicKey, Role, strict_json

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
COMMAND = Path(__file__).parents[2] / "examples" / "pkcs11_sign.py"
ED25519 = "1.3.101.112"  # RFC 8410


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh token with one Ed25519 key; its name and the key's are one."""
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    monkeypatch.setenv("PIN", "1234")
    made = ["--init-token", "--free", "--label", "root", "--pin", "1234", "--so-pin", "5678"]
    subprocess.run(["softhsm2-util", *made], check=True, capture_output=True)
    # In a process of its own: SoftHSM reads its settings when the library is loaded.
    script = "import sys; sys.path.insert(0, sys.argv[1]); import test_hsm; test_hsm.make_key()"
    subprocess.run([sys.executable, "-c", script, str(Path(__file__).parent)], check=True, env=_environment())
    return "root"


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def make_key() -> None:
    """In a process of its own: SoftHSM reads its settings when the library is loaded."""
    with pkcs11.lib(MODULE).get_token(token_label="root").open(rw=True, user_pin="1234") as session:
        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters(ED25519)}
        parameters = session.create_domain_parameters(KeyType.EC_EDWARDS, curve, local=True)
        parameters.generate_keypair(mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN, store=True, label="root")


def command(*rest: str) -> list[str]:
    return [sys.executable, str(COMMAND), MODULE, "root", "root", *rest]


def in_token(token: str) -> CommandSigner:
    shown = subprocess.run(command("--public"), check=True, capture_output=True).stdout
    return CommandSigner(PublicKey.from_json(strict_json.loads(shown)), command())


def test_a_root_whose_key_is_in_a_token(token: str) -> None:
    signer = in_token(token)
    ours = [signer.public, keys("root")[3].public]
    roles = [role(name) for name in ROLES if name != "root"]
    roles.append(Role("root", tuple(ours), {"ed25519": 1, "ml-dsa-65": 1}))
    publisher = Publisher.create(MemoryFolder({}), roles, now=NOW)
    others = [key for key in all_keys() if key not in keys("root")]
    with pytest.raises(SignatureError):
        publisher.publish([*others, keys("root")[3]])
    publisher.publish([*others, signer, keys("root")[3]])
    [root] = [one for one in states(publisher).roles if one.role == "root"]
    assert root.keys["ed25519"] == (1, 1, 1)


def test_a_wrong_pin_is_told(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = in_token(token)
    monkeypatch.setenv("PIN", "0000")
    with pytest.raises(SignatureError) as error:
        signer.sign(b"message")
    assert shlex.quote(sys.executable) in error.value.sentence
