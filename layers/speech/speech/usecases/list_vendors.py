"""Say which vendors there are, what each can do, and which one speaks when nobody is named."""

from dataclasses import asdict, dataclass
from typing import Any

from speech.policy import Lifecycle, standing_at, standing_of
from speech.ports import Clock, Policies
from speech.settings import Settings
from speech.usecases.accept_job import VendorRules
from speech.usecases.cast_job import is_allowed
from speech.vendors.base import Capabilities


@dataclass(frozen=True, slots=True)
class ListVendors:
    vendors: VendorRules
    settings: Settings
    policies: Policies
    clock: Clock

    def __call__(self) -> dict[str, Any]:
        return {
            "vendors": [self._vendor(name, self.vendors.capabilities(name)) for name in self.vendors.VENDORS],
            "default": self.settings.default_vendor,
        }

    def _standing(self, name: str) -> dict[str, Any]:
        """How the vendor stands in this stack; engines and voices that stand worse are told beside it."""
        policy, now = self.policies.policy(), self.clock.now()
        voice = self.settings.default_voices.get(name)
        of_parts = [
            {"part": key.removeprefix(f"{name}/"), **_shown(standing_at(each, now))}
            for key, each in policy.lifecycle.items()
            if key.startswith(f"{name}/")
        ]
        return {**_shown(standing_of(policy, self.settings, name, voice, {}, now)), "parts": of_parts}

    def _vendor(self, name: str, known: Capabilities) -> dict[str, Any]:
        from speech.requests import formats

        return {
            "name": name,
            "title": known.title,
            "status": known.status,
            "standing": self._standing(name),
            "default": name == self.settings.default_vendor,
            "default_voice": self.settings.default_voices.get(name),
            "voice_required": known.voice_required,
            "lists_voices": known.lists_voices,
            "reports_credits": known.reports_credits,
            "delivery": [each.value for each in known.delivery],
            "character_limit": known.character_limit,
            "other_limits": [
                {"option": option, "value": value, "character_limit": limit}
                for option, value, limit in known.other_limits
            ],
            "concurrency": known.concurrency,
            "formats": formats(media_layer=self.settings.media_layer),
            "audio_formats": list(known.audio_formats),
            "languages": list(known.languages),
            "speed": {"minimum": known.speed[0], "maximum": known.speed[1]} if known.speed else None,
            "options": [
                {name: value for name, value in asdict(option).items() if name != "allowed_by"}
                | {"choices": list(option.choices)}
                for option in known.options
                if is_allowed(option, self.settings)
            ],
            "notes": list(known.notes),
        }


def _shown(lifecycle: Lifecycle) -> dict[str, Any]:
    return {"state": lifecycle.standing.value, "date": lifecycle.date, "note": lifecycle.note or None}
