"""Decide who speaks a job: who was named, whom a name stands for, or whom we choose; and who may take over."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from speech.errors import FieldError, InvalidRequest, UnsupportedOption
from speech.jobs import Narrator, Spec
from speech.plans import price_of
from speech.policy import Policy, Speaker, Standing, require_in_service, standing_of
from speech.prices import at_most
from speech.settings import Settings
from speech.vendors.base import INSTEAD_OF_TEXT, Option

if TYPE_CHECKING:
    from speech.requests import JobRequest
    from speech.usecases.accept_job import VendorRules

AUTO = "auto"
"""The vendor that leaves the choice to the stack; the job records which one it was, and why."""

MAX_NARRATORS = 5
"""How many may take over: each has indexes of its own for its segments."""

TYPICAL_CHARACTERS = 1_000
"""What vendors are compared by."""


@dataclass(frozen=True, slots=True)
class Cast:
    """Who speaks first, and who may take over. `choice` is how that was found where it was left to us."""

    spec: Spec
    first: Narrator
    fallback: tuple[Narrator, ...]
    why: str
    choice: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CastJob:
    """One request's casting. `now` is in epoch milliseconds; `is_out` tells whether a vendor's breaker is open."""

    request: "JobRequest"
    settings: Settings
    vendors: "VendorRules"
    policy: Policy
    now: int
    is_out: Callable[[str], bool]

    def __call__(self) -> Cast:
        """Raises InvalidRequest for what a vendor or this stack cannot do."""
        alias = self._alias()
        if alias:
            asked, candidates = f"the voice {self.request.voice}", list(alias)
        elif self.request.vendor == AUTO:
            asked, candidates = AUTO, self._by_preference()
        else:
            return self._named()
        passed_over: list[dict[str, Any]] = []
        for position, speaker in enumerate(candidates):
            reason = self._reason_against(speaker, self._options)
            if reason is None and len(candidates) > 1:
                reason = self._reason_of_price(self._narrator(speaker))
            if reason is None:
                taking_over = candidates[position + 1 :] if alias else []
                why = f"{asked}: {self._described(speaker, alias=bool(alias))}"
                choice = {"asked": asked, "vendor": speaker.vendor, "voice": speaker.voice, "why": why}
                return self._cast(speaker, taking_over, why, {**choice, "passed_over": passed_over})
            passed_over.append({"vendor": speaker.vendor, "voice": speaker.voice, "why": reason})
        if not candidates:
            return self._named()
        said = " ".join(f"{each['vendor']}: {each['why']}" for each in passed_over)
        message = f"Nobody here can speak this. {said}"
        raise UnsupportedOption(message, errors=[FieldError("voice" if alias else "vendor", message)])

    def _named(self) -> Cast:
        asked = self.request.vendor if self.request.vendor != AUTO else None
        vendor = asked or self.settings.default_vendor
        speaker = Speaker(vendor, self._voice_of(Speaker(vendor, self.request.voice)))
        why = "asked for" if asked else "the vendor of this stack"
        self._check(speaker, self._options)
        if self._standing(speaker, self._options) is not Standing.RETIRED:
            return self._cast(speaker, [], why)
        cast = self._cast(speaker, [], why)
        if not cast.fallback:
            require_in_service(self.policy, self.settings, vendor, speaker.voice, self._options, self.now)
        first, *rest = cast.fallback
        instead = f"in place of {vendor}: vendor-retired"
        passed_over = [{"vendor": vendor, "voice": speaker.voice, "why": "it is retired"}]
        choice = {"asked": vendor, "vendor": first.vendor, "voice": first.voice, "why": instead}
        spec = self._spec(first.vendor, first.voice, {})
        return Cast(spec, first, tuple(rest), instead, {**choice, "passed_over": passed_over})

    # --- Candidates --------------------------------------------------------------------------

    def _alias(self) -> tuple[Speaker, ...]:
        """Whom the request's voice stands for; only where no vendor is named, whose own voice it would be."""
        if self.request.vendor not in (None, AUTO) or self.request.voice is None:
            return ()
        return self.policy.aliases.get(self.request.voice, ())

    def _by_preference(self) -> list[Speaker]:
        """All vendors, by health and standing, then price, the stack's own first among equals."""
        if self.request.voice is not None:
            # A voice is somebody's own, and nothing tells whose: the stack's vendor is the best guess.
            return [Speaker(self.settings.default_vendor, self.request.voice)]
        names = list(self.vendors.VENDORS)
        return [Speaker(name) for name in sorted(names, key=lambda name: self._preference(name, names))]

    def _preference(self, name: str, names: list[str]) -> tuple[bool, int, float, bool, int]:
        ranks = (Standing.ACTIVE, Standing.RETIRING, Standing.DEGRADED, Standing.RETIRED)
        standing = ranks.index(self._standing(Speaker(name), self._options))
        cost = at_most(price_of(self.policy, name), characters=TYPICAL_CHARACTERS, speed=self.request.speed)
        unknown = float("inf") if cost is None else cost
        return self.is_out(name), standing, unknown, name != self.settings.default_vendor, names.index(name)

    def _reason_against(self, speaker: Speaker, options: Mapping[str, Any]) -> str | None:
        """Why somebody cannot speak this request, or None."""
        try:
            self._check(speaker, options)
        except InvalidRequest as error:
            return error.detail
        return "It is retired." if self._standing(speaker, options) is Standing.RETIRED else None

    def _described(self, speaker: Speaker, *, alias: bool) -> str:
        if alias:
            return "the first of those whom it stands for that can speak this"
        price = price_of(self.policy, speaker.vendor)
        cost = at_most(price, characters=TYPICAL_CHARACTERS, speed=self.request.speed)
        said = "no price known" if cost is None else f"at most {cost:.6f} US dollars for 1,000 characters"
        health = "out" if self.is_out(speaker.vendor) else "well"
        return f"it can speak this, {self._standing(speaker, self._options).value} and {health}, {said}"

    # --- Who may take over -------------------------------------------------------------------

    def _cast(self, first: Speaker, taking_over: list[Speaker], why: str, choice: dict[str, Any] | None = None) -> Cast:
        options = self._check(first, self._options)
        spec = self._spec(first.vendor, self._voice_of(first), options)
        seen = {(spec.vendor, spec.voice)}
        fallback: list[Narrator] = []
        for speaker, field in self._who_may_take_over(taking_over, options):
            narrator = self._narrator(speaker)
            reason = self._reason_against(speaker, {}) or self._reason_of_price(narrator)
            if reason is not None and field:
                raise UnsupportedOption(f"`{field}` {reason}", errors=[FieldError(field, reason)])
            if reason is None and (narrator.vendor, narrator.voice) not in seen:
                seen.add((narrator.vendor, narrator.voice))
                fallback.append(narrator)
        return Cast(spec, self._narrator(first), tuple(fallback[:MAX_NARRATORS]), why, choice)

    def _who_may_take_over(
        self, taking_over: list[Speaker], options: Mapping[str, Any]
    ) -> list[tuple[Speaker, str | None]]:
        """In order, each with the field that named it, if the request did."""
        asked = self.request.fallback
        if INSTEAD_OF_TEXT & options.keys():
            if asked:
                message = "cannot be used here: nobody but the vendor has what is to be spoken"
                raise UnsupportedOption(f"`fallback` {message}.", errors=[FieldError("fallback", message)])
            return []
        by_alias = [(speaker, None) for speaker in taking_over]
        if asked is None:
            return [*by_alias, *((speaker, None) for speaker in self.policy.fallback)]
        return [*by_alias, *((Speaker.parse(each), f"fallback.{position}") for position, each in enumerate(asked))]

    def _reason_of_price(self, narrator: Narrator) -> str | None:
        if self.request.max_cost is None or at_most(narrator.price, characters=TYPICAL_CHARACTERS) is not None:
            return None
        return f"The price of {narrator.vendor} is not known here, so that `max_cost` cannot be kept to."

    def _narrator(self, speaker: Speaker) -> Narrator:
        return Narrator(speaker.vendor, self._voice_of(speaker), price_of(self.policy, speaker.vendor))

    # --- One speaker -------------------------------------------------------------------------

    @property
    def _options(self) -> Mapping[str, Any]:
        return self.request.vendor_options or {}

    def _voice_of(self, speaker: Speaker) -> str | None:
        return speaker.voice or self.settings.default_voices.get(speaker.vendor)

    def _standing(self, speaker: Speaker, options: Mapping[str, Any]) -> Standing:
        voice = self._voice_of(speaker)
        return standing_of(self.policy, self.settings, speaker.vendor, voice, options, self.now).standing

    def _check(self, speaker: Speaker, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options as they will be sent. Raises InvalidRequest or UnsupportedOption."""
        checked = self.vendors.check_request(
            speaker.vendor,
            voice=self._voice_of(speaker),
            language=self.request.language,
            speed=self.request.speed,
            options=options,
        )
        allow(self.vendors, self.settings, speaker.vendor, checked)
        return checked

    def _spec(self, vendor: str, voice: str | None, options: Mapping[str, Any]) -> Spec:
        from speech.requests import DEFAULT_FORMAT, DEFAULT_LOUDNESS, LOUDNESS_OFF

        loudness = DEFAULT_LOUDNESS if self.request.loudness is None else self.request.loudness
        return Spec(
            vendor=vendor,
            voice=voice,
            language=self.request.language,
            format=self.request.format or DEFAULT_FORMAT,
            sample_rate=self.request.sample_rate,
            speed=self.request.speed,
            vendor_options=options,
            loudness=None if loudness == LOUDNESS_OFF else float(loudness),
            trim_silence=self.request.trim_silence is not False,
        )


def allow(vendors: "VendorRules", settings: Settings, vendor: str, options: Mapping[str, Any]) -> None:
    """Raises UnsupportedOption for what the operator of this stack has to allow first."""
    refused = [
        FieldError(f"vendor_options.{option.name}", "is not allowed here; the operator of the stack can allow it")
        for option in vendors.capabilities(vendor).options
        if option.name in options and not is_allowed(option, settings)
    ]
    if refused:
        raise UnsupportedOption(f"{refused[0].field} {refused[0].message}.", errors=refused)


def is_allowed(option: Option, settings: Settings) -> bool:
    """Whether this stack takes an option; some its operator has to allow first."""
    return {"": True, "dify_message_ids": settings.dify_message_ids}[option.allowed_by]
