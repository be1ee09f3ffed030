"""What a vendor call costs: the most it may come to before it, what it came to after it. Unknown is None. No I/O.

Amounts are US dollars, rounded up to a millionth: what little a call costs is never shown as nothing.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speech.segments import Segment

MILLIONTHS = 1_000_000

SLOWEST = 2.0
"""Characters per second: slower speech is refused as implausible, so this bounds what is paid for by the second."""

SHORTEST_SECONDS = 30.0
"""For very short texts a duration says nothing; half a minute is more than any of them takes."""


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


def at_most(
    price: Price | None, *, characters: int, read_out: int | None = None, speed: float | None = None
) -> float | None:
    """The most that one call for so many characters may come to.

    `read_out` is how many letters they may come to when read out. A text that only the vendor has, which
    counts no characters here, has no known bound.
    """
    if price is None or characters <= 0:
        return None
    letters = max(characters, read_out or 0)
    return _amount(price, characters, None, max(SHORTEST_SECONDS, letters / SLOWEST / min(speed or 1.0, 1.0)))


def came_to(
    price: Price | None, *, characters: int, credits: float | None = None, seconds: float | None = None
) -> float | None:
    """What one call came to, by what the vendor says it took, else by what it spoke."""
    return None if price is None else _amount(price, characters, credits, seconds)


def committed(segment: "Segment") -> int:
    """What this segment takes of its job's budget: what may have been billed, and the call that is meant or made."""
    spent = sum(millionths(each.amount) for each in segment.attempts if each.outcome and each.may_be_billed)
    goes_on = not segment.is_terminal and segment.due_at is not None
    return spent + millionths(segment.reserved) if goes_on else spent


def millionths(amount: float | None) -> int:
    """An amount as a whole number, for counters that must add up. Unknown counts nothing."""
    return 0 if amount is None else round(amount * MILLIONTHS)


def dollars(millionths: int) -> float:
    return millionths / MILLIONTHS


def _amount(price: Price, characters: int, credits: float | None, seconds: float | None) -> float | None:
    exact: float | None = None
    if price.per_character is not None:
        exact = characters * price.per_character if characters > 0 else None
    elif price.per_credit is not None:
        if credits is None and seconds is not None and price.credits_per_second is not None:
            credits = math.ceil(round(seconds * price.credits_per_second, 6))  # vendors count begun credits
        exact = None if credits is None else credits * price.per_credit
    elif price.per_second is not None:
        exact = None if seconds is None else seconds * price.per_second
    # The inner rounding is for what binary fractions add: 3 times 0.1 is not to cost a millionth more.
    return None if exact is None else math.ceil(round(exact * MILLIONTHS, 3)) / MILLIONTHS
