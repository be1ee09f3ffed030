"""Say which voices a vendor has, all vendors in one shape; the vendor is asked once an hour."""

import json
import re
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from speech.egress import EgressRefused
from speech.errors import (
    FieldError,
    InvalidRequest,
    StoreUnavailable,
    UnsupportedOption,
    VendorUnauthorized,
    VendorUnavailable,
)
from speech.observability import count
from speech.ports import Cache
from speech.settings import BadSettings, Settings
from speech.usecases.accept_job import VendorRules
from speech.usecases.vendor_source import VendorSource
from speech.vendors.base import Vendor

KEPT_SECONDS = 3_600
MOST_VOICES = 5_000
"""No list in the field comes near; what is beyond it would not fit into an answer."""

_LANGUAGE = re.compile(r"[a-z]{1,8}(-[a-z0-9]{1,8}){0,8}", re.ASCII | re.IGNORECASE)

T = TypeVar("T")
VoiceList = list[dict[str, Any]]


def asked(source: VendorSource, vendor: str, question: Callable[[Vendor], T]) -> T:
    """What a vendor answers to a question that costs nothing. A refused key is read anew once."""
    try:
        try:
            return question(source(vendor))
        except VendorUnauthorized:
            return question(source(vendor, fresh_keys=True))
    except (EgressRefused, BadSettings) as error:
        raise VendorUnavailable("This stack is not set up to reach the vendor.", vendor=vendor) from error


@dataclass(frozen=True, slots=True)
class ListVoices:
    vendors: VendorRules
    source: VendorSource
    cache: Cache
    settings: Settings

    def __call__(self, tenant: str, vendor: str | None, language: str | None) -> dict[str, Any]:
        """The voices of a vendor, or of the stack's own one. Raises InvalidRequest, or what the vendor did."""
        name = self.settings.default_vendor if vendor in (None, "", "auto") else str(vendor)
        known = self.vendors.capabilities(name)
        if language and not _LANGUAGE.fullmatch(language):
            message = "must be a language tag such as `en` or `pt-BR`"
            raise InvalidRequest(f"language {message}.", errors=[FieldError("language", message)])
        if not known.lists_voices:
            message = f"{known.title} has no list of voices to ask for; take a voice from its own site"
            raise UnsupportedOption(f"{message}, and send it as `voice`.", errors=[FieldError("vendor", message)])
        voices = self._voices(tenant, name)
        if language:
            voices = [each for each in voices if _may_speak(each["languages"], language)]
        return {"voices": voices, "next": None}

    def _voices(self, tenant: str, vendor: str) -> VoiceList:
        """From the table, or from the vendor."""
        kept = self.cache.recall(tenant, f"voices#{vendor}")
        if kept is not None:
            with suppress(zlib.error, ValueError):  # a release that wrote it differently
                remembered: VoiceList = json.loads(zlib.decompress(kept))
                return remembered
        count("VoiceListsRead")
        found = asked(self.source, vendor, lambda adapter: adapter.voices())[:MOST_VOICES]
        voices = [_shown(vendor, each._asdict()) for each in found]
        with suppress(StoreUnavailable):  # then the vendor is asked again the next time
            packed = zlib.compress(json.dumps(voices, separators=(",", ":")).encode())
            self.cache.remember(tenant, f"voices#{vendor}", packed, seconds=KEPT_SECONDS)
        return voices


def _shown(vendor: str, voice: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": voice["id"],
        "name": voice["name"],
        "vendor": vendor,
        "languages": list(voice["languages"]),
        "gender": voice["gender"],
        "preview_url": voice["preview_url"],
    }


def _may_speak(languages: Sequence[str], wanted: str) -> bool:
    """Whether one of the tags is the wanted one, or more or less exact than it. A voice that tells none may."""
    tags = [tag.casefold() for tag in languages]
    asked_for = wanted.casefold()
    return not tags or any(
        f"{tag}-".startswith(f"{asked_for}-") or f"{asked_for}-".startswith(f"{tag}-") for tag in tags
    )
