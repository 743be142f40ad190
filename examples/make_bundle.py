#!/usr/bin/env python3
"""For a build system: a signed bundle in ten statements.

    make_bundle.py BASE TRUST OLD NEW BUNDLE KEY...

BASE is the signed base that OLD, a directory, lies on; NEW is what it becomes. SOURCE_DATE_EPOCH says when
it is issued, so that whoever builds it again gets the same bytes, up to the signatures.
"""

import os
import sys
from pathlib import Path

import deltaseal
from deltaseal.manifest import verify_base

base, trust, old, new, output, *keys = map(Path, sys.argv[1:])
issued = int(os.environ["SOURCE_DATE_EPOCH"])
pinned = deltaseal.Trust.load(trust.read_bytes())
verified = verify_base(deltaseal.UnverifiedDocument.loads(base.read_bytes()), pinned, now=issued)
release = deltaseal.Release(
    id="macos-26.3.1-a",
    letter="a",
    build="25D771280a",
    sequence=1,
    issued=issued,
    models=("Mac15,6",),
    activation="relaunch",
    processes=("Safari",),
)
bundle = deltaseal.build(release, verified.value, {"app": deltaseal.ComponentTrees(old, new)})
signed = bundle.signed([deltaseal.PrivateKey.load(key) for key in keys])
deltaseal.write_output(output, signed.chunks())
print(f"{output}: {signed.size():,} bytes, bundle digest {signed.digest}")
