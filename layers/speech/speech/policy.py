"""What the operator decides without a deploy: prices, limits, who is in service, whom a name stands for. No I/O."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from speech.errors import FieldError, InvalidRequest, VendorRetired
from speech.prices import Price
from speech.settings import Settings

MAX_BYTES = 64 * 1024
MAX_SPEAKERS = 5
MAX_NOTE = 500

ENGINE_OPTIONS = ("voice_engine", "model")
"""What the vendors call the engine among their own options."""


class Standing(StrEnum):
    """Whether a vendor, an engine or a voice is to be used. `retiring` has a date from which it is `retired`."""

    ACTIVE = "active"
    DEGRADED = "degraded"
    RETIRING = "retiring"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """`date` is ISO 8601, in UTC where it does not say otherwise; `retiring` needs one. `note` is for a person."""

    standing: Standing = Standing.ACTIVE
    date: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a vendor allows all workers together. None: not known, learned from refusals."""

    requests_per_minute: float | None = None
    characters_per_minute: float | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class Speaker:
    """A voice of a vendor, as `vendor:voice` in requests; without a voice the vendor's default one."""

    vendor: str
    voice: str | None = None

    @classmethod
    def parse(cls, value: str) -> Self:
        """Read `vendor` or `vendor:voice`. Raises ValueError."""
        vendor, separator, voice = value.partition(":")
        if not _NAME.fullmatch(vendor) or (separator and not _is_plain(voice, 1_000)):
            raise ValueError("must be `vendor` or `vendor:voice`")
        return cls(vendor, voice or None)

    def __str__(self) -> str:
        return self.vendor if self.voice is None else f"{self.vendor}:{self.voice}"


LIMITS_BY_PLAN: Mapping[str, Mapping[str, Limits]] = {
    "playht": {
        "hacker": Limits(requests_per_minute=20, characters_per_minute=35_000),
        "startup": Limits(requests_per_minute=50, characters_per_minute=87_500),
        "growth": Limits(requests_per_minute=200, characters_per_minute=350_000),
    },
    "voiceai": {
        "starter": Limits(concurrency=3),
        "launch": Limits(concurrency=5),
        "core": Limits(concurrency=10),
    },
}
"""What vendors document, by their names of plans. The others publish nothing. None is in force before the
operator names a plan: a limit that is not his would slow him down, and a limit costs writes."""

BUILT_IN: Mapping[str, Lifecycle] = {
    "playht": Lifecycle(Standing.RETIRING, "2025-12-31", "PlayHT has closed its service."),
}
"""What holds where the operator says nothing, and has no server of his own that keeps to the vendor's contract."""


@dataclass(frozen=True, slots=True)
class Policy:
    """`lifecycle` is by `vendor`, `vendor/engine=name` or `vendor/voice=id`; the rest by vendor or by name."""

    prices: Mapping[str, Price] = field(default_factory=dict)
    limits: Mapping[str, Limits] = field(default_factory=dict)
    lifecycle: Mapping[str, Lifecycle] = field(default_factory=dict)
    aliases: Mapping[str, tuple[Speaker, ...]] = field(default_factory=dict)
    fallback: tuple[Speaker, ...] = ()

    @classmethod
    def parse(cls, value: object, *, vendors: Collection[str] | None = None, strict: bool = True) -> Self:
        """Read what `to_json` writes. Raises InvalidRequest, naming every field that is wrong.

        `vendors` are the names that may occur. Not `strict`: fields of another release are passed over.
        """
        reader = _Reader(vendors, strict)
        given = reader.object(value, "policy", _names(cls))
        policy = cls(
            prices=reader.table(given, "prices", reader.price),
            limits=reader.table(given, "limits", reader.limits),
            lifecycle=reader.table(given, "lifecycle", reader.lifecycle),
            aliases=reader.table(given, "aliases", reader.speakers),
            fallback=reader.speakers(given.get("fallback", []), "fallback", ""),
        )
        reader.raise_if_wrong()
        if len(json.dumps(policy.to_json())) > MAX_BYTES:
            raise InvalidRequest(f"A policy has at most {MAX_BYTES:,} bytes.")
        return policy

    def to_json(self) -> dict[str, Any]:
        """As JSON, without what is not said."""
        return {
            "prices": {name: _said(each) for name, each in self.prices.items()},
            "limits": {name: _said(each) for name, each in self.limits.items()},
            "lifecycle": {name: _said(each) for name, each in self.lifecycle.items()},
            "aliases": {name: [str(each) for each in speakers] for name, speakers in self.aliases.items()},
            "fallback": [str(each) for each in self.fallback],
        }

    def limits_of(self, vendor: str) -> Limits:
        return self.limits.get(vendor, Limits())


def standing_of(
    policy: Policy, settings: Settings, vendor: str, voice: str | None, options: Mapping[str, Any], now: int
) -> Lifecycle:
    """How a vendor stands with this voice and these options: the worst of what is known. `now` is in ms.

    A `retiring` whose date has come is returned as `retired`, with its date.
    """
    return _worst(policy, settings, vendor, voice, options, now)[1]


def require_in_service(
    policy: Policy, settings: Settings, vendor: str, voice: str | None, options: Mapping[str, Any], now: int
) -> None:
    """Raises VendorRetired, naming what is retired and what to do."""
    what, lifecycle = _worst(policy, settings, vendor, voice, options, now)
    if lifecycle.standing is not Standing.RETIRED:
        return
    since = f" since {lifecycle.date}" if lifecycle.date else ""
    detail = [f"{what} is retired{since}.", lifecycle.note, "Choose another: GET /v1/vendors lists who is in service."]
    raise VendorRetired(" ".join(each for each in detail if each), vendor=vendor)


def _worst(
    policy: Policy, settings: Settings, vendor: str, voice: str | None, options: Mapping[str, Any], now: int
) -> tuple[str, Lifecycle]:
    """What stands worst of the vendor, the engine and the voice."""
    keys = {vendor: f"The vendor {vendor}"}
    for engine in (options[name] for name in ENGINE_OPTIONS if options.get(name)):
        keys[f"{vendor}/engine={engine}"] = f"The engine {engine} of {vendor}"
    if voice is not None:
        keys[f"{vendor}/voice={voice}"] = f"This voice of {vendor}"
    built_in = {} if settings.base_urls.get(vendor) else BUILT_IN
    known = ((what, policy.lifecycle.get(key) or built_in.get(key)) for key, what in keys.items())
    standings = [(what, standing_at(each, now)) for what, each in known if each is not None]
    return max(standings, key=lambda each: _ORDER.index(each[1].standing), default=(vendor, Lifecycle()))


_ORDER = (Standing.ACTIVE, Standing.DEGRADED, Standing.RETIRING, Standing.RETIRED)


def standing_at(lifecycle: Lifecycle, now: int) -> Lifecycle:
    """What is said of it at this time: from its date on, what retires is retired."""
    if lifecycle.standing is Standing.RETIRING and lifecycle.date and now >= _milliseconds(lifecycle.date):
        return replace(lifecycle, standing=Standing.RETIRED)
    return lifecycle


def _milliseconds(date: str) -> int:
    """A date as epoch milliseconds. Raises ValueError."""
    at = datetime.fromisoformat(date)
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


# --- Reading ---------------------------------------------------------------------------------

_NAME = re.compile(r"[a-z0-9_-]{1,64}", re.ASCII)
_PART = re.compile(r"(?P<vendor>[a-z0-9_-]{1,64})(?:/(?:engine|voice)=(?P<part>.+))?", re.ASCII)


def _is_plain(value: object, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= longest and value.isprintable() and bool(value.strip())


def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(each.name for each in fields(kind))


def _said(each: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(each).items() if value not in (None, "")}


class _Reader:
    """Collects whatever is wrong, so that all of it is said at once."""

    def __init__(self, vendors: Collection[str] | None, strict: bool) -> None:
        self._vendors = vendors
        self._strict = strict
        self._wrong: list[FieldError] = []

    def raise_if_wrong(self) -> None:
        if self._wrong:
            said = "; ".join(f"`{each.field}` {each.message}" for each in self._wrong[:10])
            raise InvalidRequest(f"{said}.", errors=self._wrong)

    def object(self, value: object, where: str, known: tuple[str, ...]) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            self._complain(where, "must be an object")
            return {}
        for name in value if self._strict else ():
            if name not in known:
                self._complain(f"{where}.{name}", f"is not known here; there are {', '.join(known)}")
        return value

    def table(self, given: Mapping[str, Any], name: str, read: Callable[[Any, str, str], Any]) -> dict[str, Any]:
        """Each entry by its key, read by `read(entry, where, key)`."""
        value = given.get(name, {})
        if not isinstance(value, Mapping):
            self._complain(name, "must be an object")
            return {}
        table = {}
        for key, entry in value.items():
            where = f"{name}.{key}"[:200]
            if name == "aliases":
                if not _is_plain(key, 64):
                    self._complain(name, "names have 1 to 64 printable characters")
            else:
                self._check_key(key, where, parts=name == "lifecycle")
            table[key] = read(entry, where, key)
        return table

    def price(self, entry: Any, where: str, _: str) -> Price:
        given = self.object(entry, where, _names(Price))
        plan = self._note(given.get("plan"), f"{where}.plan")
        prices = {name: self._number(given.get(name), f"{where}.{name}") for name in _names(Price) if name != "plan"}
        return Price(**prices, plan=plan)

    def limits(self, entry: Any, where: str, vendor: str) -> Limits:
        """An object, or the name of a plan that the vendor documents."""
        if isinstance(entry, str):
            plans = LIMITS_BY_PLAN.get(vendor, {})
            if entry not in plans:
                self._complain(where, f"is no plan we know; there are {', '.join(plans) or 'none'}")
            return plans.get(entry, Limits())
        given = self.object(entry, where, _names(Limits))
        concurrency = given.get("concurrency")
        if concurrency is not None and (type(concurrency) is not int or not 1 <= concurrency <= 1_000):
            self._complain(f"{where}.concurrency", "must be a whole number from 1 to 1,000")
            concurrency = None
        rates = {
            name: self._number(given.get(name), f"{where}.{name}", above_zero=True)
            for name in ("requests_per_minute", "characters_per_minute")
        }
        return Limits(**rates, concurrency=concurrency)

    def lifecycle(self, entry: Any, where: str, _: str) -> Lifecycle:
        given = self.object(entry, where, _names(Lifecycle))
        try:
            standing = Standing(given.get("standing", ""))
        except ValueError:
            self._complain(f"{where}.standing", f"must be one of {', '.join(Standing)}")
            standing = Standing.ACTIVE
        date = given.get("date")
        try:
            if date is not None:
                _milliseconds(date)
            elif standing is Standing.RETIRING:
                self._complain(f"{where}.date", "is missing; `retiring` needs the date from which it is retired")
        except (TypeError, ValueError, OverflowError):
            self._complain(f"{where}.date", "must be a date such as `2026-12-31`")
            date = None
        return Lifecycle(standing, date, self._note(given.get("note"), f"{where}.note"))

    def speakers(self, entry: Any, where: str, _: str) -> tuple[Speaker, ...]:
        if not isinstance(entry, list) or len(entry) > MAX_SPEAKERS or not (entry or where == "fallback"):
            self._complain(where, f"must be a list of 1 to {MAX_SPEAKERS} entries such as `vendor:voice`")
            return ()
        speakers = []
        for position, each in enumerate(entry):
            try:
                speakers.append(speaker := Speaker.parse(str(each)))
            except ValueError as error:
                self._complain(f"{where}.{position}", str(error))
            else:
                self._check_vendor(speaker.vendor, f"{where}.{position}")
        return tuple(speakers)

    def _check_key(self, key: str, where: str, *, parts: bool) -> None:
        match = _PART.fullmatch(key)
        if match is None or (match["part"] is not None and not (parts and _is_plain(match["part"], 1_000))):
            forms = "`vendor`, `vendor/engine=name` or `vendor/voice=id`" if parts else "the name of a vendor"
            self._complain(where, f"must be {forms}")
            return
        self._check_vendor(match["vendor"], where)

    def _check_vendor(self, vendor: str, where: str) -> None:
        if self._vendors is not None and vendor not in self._vendors:
            self._complain(where, f"names no vendor; there are {', '.join(self._vendors)}")

    def _number(self, value: Any, where: str, *, above_zero: bool = False) -> float | None:
        if value is None:
            return None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # NaN fails the comparison, as infinity does.
        if not is_number or not 0 <= value <= 1e9 or (above_zero and value == 0):
            self._complain(where, f"must be a number {'above' if above_zero else 'from'} 0")
            return None
        return float(value)

    def _note(self, value: Any, where: str) -> str:
        if value is None or value == "":
            return ""
        if not _is_plain(value, MAX_NOTE):
            self._complain(where, f"must be a line of at most {MAX_NOTE} characters")
            return ""
        return str(value)

    def _complain(self, where: str, message: str) -> None:
        self._wrong.append(FieldError(where, message))
