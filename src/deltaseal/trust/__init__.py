"""Keys, signed documents, and who may sign what.

A document comes in as ``UnverifiedDocument`` and leaves ``Trust.verify`` as
``VerifiedDocument``, or not at all.  This room knows no file formats but its
own (docs/spec/documents.md) and none of what the documents say.
"""

from deltaseal.trust import strict_json
from deltaseal.trust.documents import (
    MAGIC,
    MAX_BODY,
    MAX_DOCUMENT,
    MAX_SIGNATURES,
    Signature,
    UnverifiedDocument,
    pre_authentication_encoding,
    sign,
)
from deltaseal.trust.keys import ALGORITHMS, Algorithm, CommandSigner, PrivateKey, PublicKey, Signer
from deltaseal.trust.policy import Role, Trust, VerifiedDocument

__all__ = [
    "ALGORITHMS",
    "MAGIC",
    "MAX_BODY",
    "MAX_DOCUMENT",
    "MAX_SIGNATURES",
    "Algorithm",
    "CommandSigner",
    "PrivateKey",
    "PublicKey",
    "Role",
    "Signature",
    "Signer",
    "Trust",
    "UnverifiedDocument",
    "VerifiedDocument",
    "pre_authentication_encoding",
    "sign",
    "strict_json",
]
