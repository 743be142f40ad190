"""What the personaliser signs: device manifests; and the request that a device makes for one.

A device manifest permits one bundle, for listed models (static) or for one
device and its nonce (personalised).  It can only narrow what the release role
signed (R6, R7).  Field by field: docs/spec/manifests.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from deltaseal.errors import DocumentTypeError
from deltaseal.manifest import fields
from deltaseal.manifest.fields import Fields, read_object
from deltaseal.manifest.releases import FORMAT
from deltaseal.trust import strict_json

CHANNELS: Final = ("seed", "stable")
MAX_PHASE: Final = 10_000
LIFETIME: Final = 7 * 86_400  # seconds; R7: a device manifest lives at most 7 days
REQUEST_KIND: Final = "deltaseal/request"
MAX_REQUEST_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Personal:
    """One device and the nonce that it made for this request."""

    device: str  # the device's id, hexadecimal
    nonce: str  # hexadecimal

    def to_json(self) -> dict[str, str]:
        """The pair as JSON values."""
        return {"device": self.device, "nonce": self.nonce}

    @classmethod
    def read(cls, source: Fields) -> Personal:
        """Read the pair."""
        return cls(device=source.text("device", fields.TOKEN), nonce=source.text("nonce", fields.TOKEN))


@dataclass(frozen=True, slots=True)
class DeviceManifest:
    """The permission to apply one bundle: static for models, or personalised for one device."""

    TYPE: ClassVar[str] = "deltaseal/device-manifest"

    id: str  # of the improvement
    os: str
    bundle: str  # bundle digest, hexadecimal
    models: tuple[str, ...] | None  # None: personalised
    personal: Personal | None  # None: static
    channel: str
    phase: int  # 0 to 10,000: how many of 10,000 devices are in
    issued: int  # seconds since 1970
    expires: int  # seconds since 1970, at most 7 days later
    paused: bool = False  # no new starts

    def to_json(self) -> dict[str, Any]:
        """The body as JSON values."""
        whom: dict[str, Any] = {}
        if self.models is not None:
            whom = {"models": list(self.models)}
        if self.personal is not None:
            whom = {"personal": self.personal.to_json()}
        return {
            "format": FORMAT,
            "id": self.id,
            "os": self.os,
            "bundle": self.bundle,
            **whom,
            "channel": self.channel,
            "phase": self.phase,
            "paused": self.paused,
            "issued": self.issued,
            "expires": self.expires,
        }

    def dumps(self) -> bytes:
        """The body, in its one written form."""
        return strict_json.dumps(self.to_json())

    @classmethod
    def loads(cls, body: bytes) -> DeviceManifest:
        """Read a body; whatever is not exactly of this form is refused (E_TYPE)."""
        return read_object(strict_json.loads(body), "device manifest", cls._read)

    @classmethod
    def _read(cls, source: Fields) -> DeviceManifest:
        source.number("format", most=FORMAT)
        manifest = cls(
            id=source.text("id", fields.IMPROVEMENT),
            os=source.text("os", fields.OS),
            bundle=source.text("bundle", fields.DIGEST),
            models=source.texts("models", fields.MODEL) if source.has("models") else None,
            personal=source.nested("personal", Personal.read) if source.has("personal") else None,
            channel=source.choice("channel", CHANNELS),
            phase=source.number("phase", most=MAX_PHASE),
            paused=source.flag("paused"),
            issued=source.number("issued"),
            expires=source.number("expires"),
        )
        if (manifest.models is None) == (manifest.personal is None):
            raise source.refuse("models", "exactly one of models and personal must be there")
        if not 0 < manifest.expires - manifest.issued <= LIFETIME:
            raise source.refuse("expires", f"must lie after issued, by at most {LIFETIME} s (7 days)")
        return manifest


@dataclass(frozen=True, slots=True)
class Request:
    """What a device asks a personalised manifest with: unsigned, so it proves nothing by itself."""

    personal: Personal
    os: str
    model: str
    build: str  # of the device's base

    def dumps(self) -> bytes:
        """The request as one line of JSON."""
        values = {
            "kind": REQUEST_KIND,
            "format": FORMAT,
            **self.personal.to_json(),
            "os": self.os,
            "model": self.model,
            "build": self.build,
        }
        return strict_json.dumps(values) + b"\n"

    @classmethod
    def loads(cls, data: bytes) -> Request:
        """Read a request; E_TYPE where it is none."""
        if len(data) > MAX_REQUEST_BYTES:
            raise DocumentTypeError(f"a request has at most {MAX_REQUEST_BYTES} bytes, this has {len(data)}")
        return read_object(strict_json.loads(data), "request", cls._read)

    @classmethod
    def _read(cls, source: Fields) -> Request:
        source.choice("kind", (REQUEST_KIND,))
        source.number("format", most=FORMAT)
        return cls(
            personal=Personal.read(source),
            os=source.text("os", fields.OS),
            model=source.text("model", fields.MODEL),
            build=source.text("build", fields.BUILD),
        )
