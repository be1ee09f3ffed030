"""What the operator decides without a deploy: prices, limits, who is in service, whom a name stands for. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Standing(StrEnum):
    """Whether a vendor, an engine or a voice is to be used. `retiring` has a date from which it is `retired`."""

    ACTIVE = "active"
    DEGRADED = "degraded"
    RETIRING = "retiring"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """`date` is ISO 8601 in UTC, only with `retiring`. `note` is for a person."""

    standing: Standing = Standing.ACTIVE
    date: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Price:
    """What a vendor asks on the operator's plan, in US dollars. What is not known is None, never 0.

    A vendor bills by one of these. `credits_per_second` is of audio, and serves to estimate where a credit
    has a price.
    """

    per_character: float | None = None
    per_second: float | None = None
    per_credit: float | None = None
    credits_per_second: float | None = None
    plan: str = ""


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


@dataclass(frozen=True, slots=True)
class Policy:
    """`lifecycle` is by `vendor`, `vendor/engine=name` or `vendor/voice=id`; the rest by vendor or by name."""

    prices: Mapping[str, Price] = field(default_factory=dict)
    limits: Mapping[str, Limits] = field(default_factory=dict)
    lifecycle: Mapping[str, Lifecycle] = field(default_factory=dict)
    aliases: Mapping[str, tuple[Speaker, ...]] = field(default_factory=dict)
    fallback: tuple[Speaker, ...] = ()
