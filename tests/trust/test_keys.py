"""Keys: files, their permissions and passphrases, and keys behind a command."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import stat
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from deltaseal.errors import DocumentTypeError, SignatureError, SpaceError, StorageError, UsageError
from deltaseal.trust import ALGORITHMS, CommandSigner, PrivateKey, PublicKey

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module", params=ALGORITHMS)
def key(request):
    return PrivateKey.generate(request.param, random=lambda size: b"\x07" * size)


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_a_signature_is_good_for_its_message_only(message, other):
    for algorithm in ALGORITHMS:
        private = PrivateKey.generate(algorithm, random=lambda size: b"\x07" * size)
        signature = private.sign(message)
        assert private.public.verify(message, signature)
        assert private.public.verify(other, signature) == (other == message)


def test_no_bit_of_a_signature_can_be_changed(key):
    signature = key.sign(b"message")
    for position in range(0, len(signature), max(1, len(signature) // 40)):
        changed = bytearray(signature)
        changed[position] ^= 1
        assert not key.public.verify(b"message", bytes(changed)), position


@pytest.mark.parametrize("cut", [lambda s: b"", lambda s: s[:-1], lambda s: s + b"\0", lambda s: s * 2])
def test_signatures_of_another_length_are_not_good(key, cut):
    assert not key.public.verify(b"message", cut(key.sign(b"message")))


def test_generated_keys_differ():
    for algorithm in ALGORITHMS:
        assert PrivateKey.generate(algorithm).public != PrivateKey.generate(algorithm).public


def test_the_fingerprint_names_the_algorithm_too(key):
    algorithm, raw = key.public.algorithm, key.public.raw
    assert key.public.fingerprint == hashlib.sha256(algorithm.encode() + b"\0" + raw).digest()
    assert key.public.key_hint == key.public.fingerprint[:8]


class TestPublicKey:
    def test_json_round_trip(self, key):
        assert PublicKey.from_json(key.public.to_json()) == key.public

    @pytest.mark.parametrize(
        "change",
        [
            {"algorithm": "rsa"},
            {"algorithm": None},
            {"public": "####"},
            {"public": 7},
            {"public": "ü"},
            {"public": "AAAA"},
            {"more": 1},
        ],
        ids=repr,
    )
    def test_json_that_is_no_key_is_refused(self, key, change):
        with pytest.raises(DocumentTypeError):
            PublicKey.from_json({**key.public.to_json(), **change})

    def test_a_second_spelling_of_base64_is_refused(self):
        key = PrivateKey.generate("ed25519", random=lambda size: b"\x07" * size).public
        value = key.to_json()
        last = value["public"][-2]  # 32 bytes leave two spare bits in the digit before the padding
        digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        other = digits[digits.index(last) ^ 1]
        with pytest.raises(DocumentTypeError):
            PublicKey.from_json({**value, "public": value["public"][:-2] + other + "="})

    @pytest.mark.parametrize("size", [0, 31, 33, 1951, 1953])
    def test_a_wrong_size_is_refused(self, size):
        for algorithm in ALGORITHMS:
            with pytest.raises(DocumentTypeError):
                PublicKey(algorithm, b"\x05" * size)

    def test_ed25519_keys_that_nobody_owns_are_refused(self):
        """All points of small order, found here from the curve's equation, and every second spelling."""
        ys = {0, 1, P - 1}
        # A point of order 8 doubles to one of order 4, which has y = 0: x^2 = -y^2 there.
        # With the curve's -x^2 + y^2 = 1 + d x^2 y^2 that is 2 y^2 = 1 - d y^4.
        root = pow(1 + D, (P + 3) // 8, P)
        if root * root % P != (1 + D) % P:
            root = root * pow(2, (P - 1) // 4, P) % P
        assert root * root % P == (1 + D) % P
        for sign in (1, -1):
            square = (-1 + sign * root) * pow(D, -1, P) % P
            y = pow(square, (P + 3) // 8, P)
            for candidate in (y, y * pow(2, (P - 1) // 4, P) % P):
                if candidate * candidate % P == square:
                    ys |= {candidate, P - candidate}
        assert len(ys) == 5
        for number in [*ys, *range(P, 2**255)]:
            for top_bit in (0, 1 << 255):
                with pytest.raises(DocumentTypeError):
                    PublicKey("ed25519", (number | top_bit).to_bytes(32, "little"))


class TestKeyFile:
    def test_round_trip(self, key, tmp_path):
        for passphrase in (None, "correct horse", "ü§"):
            path = tmp_path / f"{passphrase}.pem"
            key.save(path, passphrase)
            assert PrivateKey.load(path, passphrase).public == key.public
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert (b"ENCRYPTED" in path.read_bytes()) == (passphrase is not None)

    def test_mode_does_not_depend_on_the_umask(self, key, tmp_path):
        before = os.umask(0)
        try:
            key.save(tmp_path / "key.pem")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600

    def test_an_existing_file_is_never_replaced(self, key, tmp_path):
        path = tmp_path / "key.pem"
        path.write_bytes(b"precious")
        with pytest.raises(UsageError):
            key.save(path)
        assert path.read_bytes() == b"precious"

    def test_a_link_is_not_followed(self, key, tmp_path):
        (tmp_path / "key.pem").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(UsageError):
            key.save(tmp_path / "key.pem")
        assert not (tmp_path / "elsewhere").exists()

    def test_a_missing_folder_and_a_folder_are_errors(self, key, tmp_path):
        with pytest.raises(StorageError):
            key.save(tmp_path / "missing/key.pem")
        with pytest.raises(StorageError):
            PrivateKey.load(tmp_path / "missing")
        with pytest.raises((UsageError, StorageError)):
            PrivateKey.load(tmp_path)

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o601, 0o644])
    def test_a_file_that_others_may_use_is_refused(self, key, tmp_path, mode):
        path = tmp_path / "key.pem"
        key.save(path)
        path.chmod(mode)
        with pytest.raises(UsageError) as refusal:
            PrivateKey.load(path)
        assert "chmod 600" in refusal.value.hint
        path.chmod(0o400)
        assert PrivateKey.load(path).public == key.public

    @pytest.mark.parametrize("passphrase", ["", "x" * 1024, "ü" * 512])
    def test_a_passphrase_that_no_key_file_can_have(self, key, tmp_path, passphrase):
        with pytest.raises(UsageError, match="passphrase"):
            key.save(tmp_path / "key.pem", passphrase)
        assert not list(tmp_path.iterdir())
        key.save(tmp_path / "key.pem", "x" * 1023)
        assert PrivateKey.load(tmp_path / "key.pem", "x" * 1023).public == key.public
        with pytest.raises(UsageError, match="passphrase"):
            PrivateKey.load(tmp_path / "key.pem", passphrase)

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
    def test_a_full_disk_is_told_as_such(self, key, tmp_path, monkeypatch, number):
        def full(*_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "open", full)
        with pytest.raises(SpaceError):
            key.save(tmp_path / "key.pem")

    def test_passphrases_that_do_not_fit(self, key, tmp_path):
        key.save(tmp_path / "open.pem")
        key.save(tmp_path / "shut.pem", "right")
        for name, passphrase in [("shut.pem", None), ("shut.pem", "wrong"), ("open.pem", "any")]:
            with pytest.raises(UsageError):
                PrivateKey.load(tmp_path / name, passphrase)
        with pytest.raises(UsageError):
            key.save(tmp_path / "none.pem", "")

    @pytest.mark.parametrize("content", [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
    def test_what_is_no_key_is_refused(self, tmp_path, content):
        path = tmp_path / "key.pem"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(DocumentTypeError):
            PrivateKey.load(path)

    def test_another_algorithm_is_refused(self, tmp_path):
        path = tmp_path / "key.pem"
        path.write_bytes(
            ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        path.chmod(0o600)
        with pytest.raises(DocumentTypeError):
            PrivateKey.load(path)

    def test_a_fifo_does_not_make_us_wait(self, tmp_path):
        os.mkfifo(tmp_path / "pipe", 0o600)
        with pytest.raises(UsageError):
            PrivateKey.load(tmp_path / "pipe")

    def test_nothing_is_left_when_it_cannot_be_written(self, key, tmp_path):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, hard))  # the write fails part of the way, with EFBIG
        try:
            with pytest.raises(StorageError):
                key.save(tmp_path / "key.pem")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert list(tmp_path.iterdir()) == []


SIGN = """
import sys
from pathlib import Path
from deltaseal.trust import PrivateKey
message = sys.stdin.buffer.read()
sys.stdout.buffer.write(PrivateKey.load(Path(sys.argv[1])).sign(message))
"""


class TestCommandSigner:
    def signer(self, public, code, *arguments, seconds=30.0):
        return CommandSigner(public, [sys.executable, "-c", code, *map(str, arguments)], seconds=seconds)

    def test_signs_what_it_gets(self, key, tmp_path):
        key.save(tmp_path / "key.pem")
        signer = self.signer(key.public, SIGN, tmp_path / "key.pem")
        message = b"message\n\0\xff" * 10_000
        assert key.public.verify(message, signer.sign(message))
        assert signer.public == key.public

    def test_another_key_is_noticed(self, key, tmp_path):
        key.save(tmp_path / "key.pem")
        other = PrivateKey.generate(key.public.algorithm).public
        with pytest.raises(SignatureError, match="no signature of this"):
            self.signer(other, SIGN, tmp_path / "key.pem").sign(b"message")

    @pytest.mark.parametrize(
        "code", ["", "print('signed!')", "import sys; sys.stdout.buffer.write(bytes(64))"]
    )
    def test_anything_but_a_signature_is_refused(self, key, code):
        with pytest.raises(SignatureError):
            self.signer(key.public, code).sign(b"message")

    def test_a_failure_says_why(self, key):
        code = "import sys; print('card is locked', file=sys.stderr); sys.exit(4)"
        with pytest.raises(SignatureError, match="card is locked") as refusal:
            self.signer(key.public, code).sign(b"message")
        assert refusal.value.facts["exit"] == 4

    def test_a_command_that_hangs_is_ended(self, key):
        with pytest.raises(SignatureError, match="did not end"):
            self.signer(key.public, "import time; time.sleep(60)", seconds=0.3).sign(b"message")

    def test_a_command_that_leaves_another_behind_is_ended(self, key):
        code = "import subprocess, sys; subprocess.run(['sleep', '5'])"
        with pytest.raises(SignatureError, match="did not end"):
            self.signer(key.public, code, seconds=0.3).sign(b"message")

    def test_a_command_that_closes_its_output_and_hangs_is_ended(self, key):
        code = "import os, time; os.close(1); os.close(2); time.sleep(60)"
        with pytest.raises(SignatureError, match="did not end"):
            self.signer(key.public, code, seconds=0.5).sign(b"message")

    @pytest.mark.parametrize("stream", ["stdout", "stderr"])
    def test_a_command_that_never_stops_writing_is_not_listened_to(self, key, stream):
        code = f"import sys\nwhile True: sys.{stream}.write('x' * 4096)"
        with pytest.raises(SignatureError, match="gave more" if stream == "stdout" else "did not end"):
            self.signer(key.public, code, seconds=0.5 if stream == "stderr" else 30.0).sign(b"message")

    def test_a_command_that_reads_nothing_can_still_fail_cleanly(self, key):
        with pytest.raises(SignatureError):
            self.signer(key.public, "import sys; sys.exit(1)").sign(b"x" * 1_000_000)

    def test_a_missing_program_is_wrong_usage(self, key):
        with pytest.raises(UsageError):
            CommandSigner(key.public, ["/nonexistent/signer"]).sign(b"message")
        with pytest.raises(UsageError):
            CommandSigner(key.public, [])
