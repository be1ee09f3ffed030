"""What vendors publish of their prices, by the names of their plans. No I/O."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from speech.errors import FieldError, InvalidRequest
from speech.prices import Price

if TYPE_CHECKING:
    from speech.policy import Policy


def _of_credits(dollars: float, credits: int, *, per_second: float) -> Price:
    return Price(per_credit=dollars / credits, credits_per_second=per_second)


# From the vendors' own price lists as read in November 2026: plan, its dollars, its credits. Voice.ai says that
# 15,000 credits are 15 minutes of speech, Creatify that a credit is 30 seconds.
_VOICEAI, _CREATIFY = 1_000 / 60, 1 / 30
PLANS: Mapping[str, Mapping[str, Price]] = {
    "voiceai": {
        "starter": _of_credits(5, 15_000, per_second=_VOICEAI),
        "launch": _of_credits(12, 200_000, per_second=_VOICEAI),
        "core": _of_credits(99, 1_000_000, per_second=_VOICEAI),
        "scale": _of_credits(330, 4_000_000, per_second=_VOICEAI),
        "business": _of_credits(880, 22_000_000, per_second=_VOICEAI),
    },
    "creatify": {
        "api-starter": _of_credits(99, 500, per_second=_CREATIFY),
        "api-pro": _of_credits(299, 2_000, per_second=_CREATIFY),
    },
}
"""Published plans that an operator can name in place of figures. Nobody is on one without saying so."""


def require_known_plans(policy: "Policy") -> None:
    """A plan alone stands for its figures, so there must be some. Raises InvalidRequest, naming the plans there are."""
    wrong = [
        FieldError(
            f"prices.{vendor}.plan",
            f"is no plan we know; there are {', '.join(PLANS.get(vendor, {})) or 'none'}; "
            "beside figures of your own it may be called anything",
        )
        for vendor, price in policy.prices.items()
        if price.plan and price_of(policy, vendor) is None
    ]
    if wrong:
        raise InvalidRequest("; ".join(f"`{each.field}` {each.message}" for each in wrong) + ".", errors=wrong)


def price_of(policy: "Policy", vendor: str) -> Price | None:
    """What the operator's plan with this vendor asks, or None when it is not known."""
    price = policy.prices.get(vendor)
    if price is None or _says_something(price):
        return price
    published = PLANS.get(vendor, {}).get(price.plan)
    return replace(published, plan=price.plan) if published else None


def _says_something(price: Price) -> bool:
    return any(each is not None for each in (price.per_character, price.per_second, price.per_credit))
