#!/usr/bin/env python3
"""Sign with an Ed25519 key that stays in a PKCS#11 token (HSM, smart card): a command for ``--signer``.

    --signer root.1.pub "python examples/pkcs11_sign.py /usr/lib/softhsm/libsofthsm2.so TOKEN KEY"

Reads the message from standard input, writes the raw signature to standard output. The token's PIN is in
the variable PIN. Needs the package python-pkcs11. With ``--public`` after KEY it writes the public key, as
`deltaseal keys public` does.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from typing import Any

import pkcs11


def main() -> None:
    """Sign, or show the public key."""
    module, token, label, *rest = sys.argv[1:]
    with pkcs11.lib(module).get_token(token_label=token).open(user_pin=os.environ["PIN"]) as session:
        if rest == ["--public"]:
            key = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label=label)
            point = key[pkcs11.Attribute.EC_POINT][-32:]  # after the head of a DER octet string
            print(json.dumps({"algorithm": "ed25519", "public": base64.b64encode(point).decode()}))
            return
        private: Any = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=label)
        message = sys.stdin.buffer.read()
        sys.stdout.buffer.write(private.sign(message, mechanism=pkcs11.Mechanism.EDDSA))


if __name__ == "__main__":
    main()
