"""Reading a vendor's HTTP answer: is it audio, what went wrong, and what of it may be repeated aloud."""

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from speech.errors import (
    VendorError,
    VendorGone,
    VendorMisbehaved,
    VendorQuotaExhausted,
    VendorRejected,
    VendorTextTooLong,
    VendorThrottled,
    VendorUnauthorized,
    VendorUnavailable,
)
from speech.vendors.base import Reply, Voice

RETRY_AFTER_SECONDS = (1.0, 900.0)

STATUSES: Mapping[int, type[VendorError]] = {
    401: VendorUnauthorized,
    402: VendorQuotaExhausted,
    403: VendorUnauthorized,
    408: VendorUnavailable,
    410: VendorGone,
    429: VendorThrottled,
}
"""What a status means where the vendor's body says nothing better. 5xx and the rest: see `refusal`."""

Texts = Sequence[tuple[str, type[VendorError]]]
"""Part of a vendor's message, in lower case, and what it means. Only for vendors that give no code."""


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until the vendor wants to hear from us again, 1 to 900; None when it did not say.

    `now` is in epoch seconds. Takes seconds or an HTTP date; garbage counts as not said.
    """
    raw = headers.get("retry-after", "").strip()
    if not raw:
        return None
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", raw, re.ASCII):
        seconds = float(raw)
    else:
        from email.utils import parsedate_to_datetime

        try:
            seconds = parsedate_to_datetime(raw).timestamp() - now
        except (ValueError, OverflowError):
            return None
    low, high = RETRY_AFTER_SECONDS
    return min(high, max(low, seconds))


def request_id(reply: Reply) -> str | None:
    """The vendor's own id of this exchange, when it looks like one."""
    for name in ("x-request-id", "request-id", "x-amzn-requestid", "x-correlation-id", "cf-ray"):
        value = reply.headers.get(name, "")
        if re.fullmatch(r"[A-Za-z0-9._:=+-]{1,128}", value, re.ASCII):
            return value
    return None


def parsed(body: bytes) -> Any:
    """The JSON in a body, or None. A hostile depth is not JSON to us."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def opens_like_text(body: bytes) -> bool:
    """Whether bytes that should be audio are JSON, HTML or prose. No container we ask for looks so."""
    head = body.removeprefix(b"\xef\xbb\xbf").lstrip()[:512]
    if not head or 0 in head:
        return not head
    printable = sum(each >= 0x20 or each in b"\t\r\n" for each in head)
    if printable < len(head):
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 and len(head) == 512  # a character cut by our own slice
    return True


def is_page(reply: Reply) -> bool:
    """Whether a success is a web page: what stands where an API was."""
    head = reply.body[:512].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return reply.ok and head.startswith((b"<!doctype html", b"<html"))


def audio(reply: Reply, *, vendor: str, title: str, is_file: bool = False) -> bytes:
    """The body of a success, unless it is plainly no audio. Raises VendorMisbehaved, for a page VendorGone.

    `is_file`: it comes from where results are kept, whose pages say nothing about the vendor's API.
    """
    packed = reply.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")
    if packed:
        what = "a packed body, which was not asked for"  # never unpacked: it may be a bomb
    elif not reply.body.strip():
        what = "an empty body"
    elif is_page(reply):
        what = "a web page where audio belongs"
    elif opens_like_text(reply.body):
        what = "text where audio belongs"
    else:
        return reply.body
    raise (VendorGone if is_page(reply) and not is_file else VendorMisbehaved)(
        f"{title} answered {reply.status} with {what}.",
        vendor=vendor,
        vendor_status=reply.status,
        request_id=request_id(reply),
    )


def refusal(
    reply: Reply,
    *,
    vendor: str,
    title: str,
    message: str | None = None,
    code: str | None = None,
    texts: Texts = (),
    statuses: Mapping[int, type[VendorError]] = STATUSES,
    default: type[VendorError] = VendorRejected,
    secrets: Iterable[str] = (),
    hint: str = "",
) -> VendorError:
    """The error an answer stands for. `message` is the vendor's; it is repeated only when that is safe.

    `texts` are looked at for 4xx alone: a failing server's prose says nothing about our account.
    """
    kind = _kind(reply.status, message, texts, statuses, default)
    said = safe_message(message, secrets=secrets)
    detail = f"{title} answered {reply.status}" + (f": {said}" if said else ".")
    if hint:
        detail += f" {hint}"
    return kind(
        detail,
        vendor=vendor,
        vendor_status=reply.status,
        vendor_code=code if code and re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", code, re.ASCII) else None,
        request_id=request_id(reply),
        retry_after=retry_after(reply.headers, time.time()),
    )


def _kind(
    status: int,
    message: str | None,
    texts: Texts,
    statuses: Mapping[int, type[VendorError]],
    default: type[VendorError],
) -> type[VendorError]:
    if 400 <= status < 500 and message:
        spoken = message.casefold()
        for part, kind in texts:
            if part in spoken:
                return kind
    if status in statuses:
        return statuses[status]
    if status >= 500:
        return VendorUnavailable
    # A redirect that we do not follow, or a success that is none: outside the vendor's own contract.
    return VendorMisbehaved if status < 400 else default


_AT_MOST = (
    r"(?:at most|no more than|limit of|limit is|limited to|maximum of|maximum is|maximum) ([0-9][0-9,]{0,8}) characters"
)
_LIMIT = re.compile(_AT_MOST, re.ASCII)
_TOO_LONG = re.compile(rf"too long|too many characters|characters? limit|{_AT_MOST}", re.ASCII)


def told_too_long(refused: VendorError, message: str | None) -> VendorError:
    """The same refusal as VendorTextTooLong, if it is final and the vendor's words are about the text's length."""
    said = (message or "").casefold()
    if type(refused) is not VendorRejected or not _TOO_LONG.search(said):
        return refused
    limit = _LIMIT.search(said)
    return VendorTextTooLong(
        refused.detail,
        limit=int(limit[1].replace(",", "")) if limit else None,
        vendor=refused.vendor,
        vendor_status=refused.vendor_status,
        vendor_code=refused.vendor_code,
        request_id=refused.request_id,
    )


# Words a vendor may say back to us even when the text holds them too. Anything else that the text, the
# voice's name or a key also holds silences the message: it may be quoting.
_COMMON_WORDS = frozenset(
    """
    about account again allowed answer available cannot characters concurrent contact could create
    credit credits current does empty error exceed exceeded exist failed field file format found from
    generate generation generations greater have input insufficient invalid language later least length
    less limit longer maximum message missing model more must name number only parameter plan please
    provided quota rate reached request requests required retry script should sound speech string such
    supported text than that this transcript transcription unsupported upgrade usage valid value voice
    voices when with without wrong your
    """.split()  # noqa: SIM905 - a list of words reads as words
)


def safe_message(message: str | None, *, secrets: Iterable[str] = ()) -> str | None:
    """The vendor's words if they are short, plain and quote nothing of ours; else None.

    `secrets` are the text and the keys: a message that shares a word with them is not repeated, except
    for words that every error message is made of.
    """
    if not message:
        return None
    plain = " ".join(message.split())
    if not 0 < len(plain) <= 200 or not plain.isascii() or not plain.isprintable():
        return None
    if any(sign in plain for sign in ("://", "\\", "@", "<", "{", "&#")):
        return None
    ours = "\n".join(secrets).casefold()
    for word in re.findall(r"[a-z0-9_]+", plain.casefold()):
        if len(word) > 30 or (len(word) > 3 and word not in _COMMON_WORDS and word in ours):
            return None
    return plain if plain.endswith((".", "!", "?")) else plain + "."


def voice(
    vendor_id: Any,
    *,
    name: Any = None,
    languages: Iterable[Any] = (),
    gender: Any = None,
    preview_url: Any = None,
) -> Voice | None:
    """A voice of a vendor's list; None when its id is none. What is not as it should be counts as not told."""
    if not isinstance(vendor_id, str) or not 0 < len(vendor_id) <= 1000 or not vendor_id.isprintable():
        return None
    tags = (each.replace("_", "-") for each in languages if isinstance(each, str))
    link = preview_url if isinstance(preview_url, str) and len(preview_url) <= 2048 else ""
    return Voice(
        id=vendor_id,
        name=" ".join(name.split())[:200] or None if isinstance(name, str) else None,
        languages=tuple(dict.fromkeys(each for each in tags if _LANGUAGE.fullmatch(each))),
        gender=gender.lower() if isinstance(gender, str) and re.fullmatch(r"[A-Za-z-]{1,20}", gender) else None,
        preview_url=link if re.fullmatch(r"https?://[!-~]+", link) else None,
    )


_LANGUAGE = re.compile(r"[a-zA-Z]{2,8}(-[a-zA-Z0-9]{1,8}){0,4}", re.ASCII)


def unreadable(reply: Reply, what: str, *, vendor: str, title: str) -> VendorMisbehaved:
    """A success that is not what its documents say."""
    return (VendorGone if is_page(reply) else VendorMisbehaved)(
        f"{title} answered with {what} that cannot be read.",
        vendor=vendor,
        vendor_status=reply.status,
        request_id=request_id(reply),
    )


def key(keys: Mapping[str, str], name: str, *, vendor: str, title: str) -> str:
    """A configured key, fit for a header. Raises VendorUnauthorized where there is none."""
    value = keys.get(name, "").strip()
    if value and value.isascii() and value.isprintable():
        return value
    raise VendorUnauthorized(f"No usable {name} is configured for {title}.", vendor=vendor)
