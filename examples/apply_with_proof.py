#!/usr/bin/env python3
"""For a test harness: apply a delta, with proof, in ten lines.

    apply_with_proof.py OLD DELTA NEW

Images or directories. The delta is applied once without keeping anything, then for good; a refusal ends with
the exit code of its reason, and nothing is left behind.
"""

import sys

import deltaseal

old, delta, new = sys.argv[1:]
try:
    proof = deltaseal.verify(delta, old=old)
    applied = deltaseal.apply(old, delta, new)
    deltaseal.verify(delta, new=new)
except deltaseal.DeltasealError as refusal:
    print(f"{refusal.reason}: {refusal.sentence} ({refusal.hint})", file=sys.stderr)
    sys.exit(refusal.exit_code)
print(f"{new}: {applied.size:,} bytes, digest {applied.digest}; {proof.known[0]}")
