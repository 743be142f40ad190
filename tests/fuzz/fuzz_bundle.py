"""Fuzz target of the bundle reader: any bytes give a bundle or a refusal, never anything else.

    python tests/fuzz/fuzz_bundle.py [CORPUS_DIRECTORY] [libFuzzer options]

needs atheris. The seeds in ``seeds/bundle`` are made by ``--make-seeds``; what fuzzing found is in
``seeds/bundle-found``, kept by ``./dev fuzz --keep``. All run in every test run.
"""

from __future__ import annotations

import sys
from pathlib import Path

from deltaseal.bundle import open_bundle
from deltaseal.errors import DeltasealError
from deltaseal.storage import BytesSource

SEEDS = Path(__file__).parent / "seeds" / "bundle"


def fuzz_one(data: bytes) -> bool:
    """Read ``data`` as a bundle; whether it is one. What is read must be all of the bytes."""
    try:
        bundle = open_bundle(BytesSource(data)).editable()
    except DeltasealError:
        return False
    assert bundle.to_bytes() == data
    return True


def make_seeds() -> dict[str, bytes]:
    """One good bundle, and one fault each: named for it."""
    from support.plain_bundle import plain_bundle

    good = plain_bundle([b"one payload", b"another payload"], sign=False).to_bytes()
    body = good.index(b"{")
    end = good.rindex(b"}") + 1

    def with_body(new: bytes) -> bytes:
        rest = good[: body - 4] + len(new).to_bytes(4, "little") + new + good[end:]
        return rest[:8] + len(rest).to_bytes(8, "little") + rest[16:]

    text = good[body:end]
    assert with_body(text) == good
    return {
        "good": good,
        "empty": b"",
        "cut-short": good[:-1],
        "one-byte-more": good + b"\0",
        "other-version": good[:7] + b"\1" + good[8:],
        "length-of-all-ones": good[:8] + b"\xff" * 8 + good[16:],
        "body-length-of-all-ones": good[: body - 4] + b"\xff" * 4 + good[body:],
        "body-empty": with_body(b""),
        "body-no-json": with_body(b"{"),
        "body-deep": with_body(b'{"a":' * 20 + b"1" + b"}" * 20),
        "unknown-field": with_body(text[:-1] + b',"zzz":1}'),
        "payload-size-changed": with_body(text.replace(b'"size":11', b'"size":12')),
        "payload-size-of-2-53": with_body(text.replace(b'"size":15', b'"size":9007199254740992')),
        "payload-size-negative": with_body(text.replace(b'"size":15', b'"size":-15')),
        "payload-missing": with_body(text)[:-15],
        "signatures-announced": good[:end] + b"\xff" + good[end + 1 :],
    }


def main() -> None:
    """Write the seeds, or fuzz until stopped."""
    if sys.argv[1:] == ["--make-seeds"]:
        sys.path.insert(0, str(Path(__file__).parents[1]))
        for name, data in make_seeds().items():
            (SEEDS / name).write_bytes(data)
        return
    import atheris

    atheris.instrument_all()
    itself = f"{sys.executable} {sys.argv[0]}"  # how libFuzzer starts it again, by a shell, to merge
    atheris.Setup([itself, *sys.argv[1:]], fuzz_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
