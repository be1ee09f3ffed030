"""What a sender may ask for: the job request, its types, and what to say when it is wrong."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import date as calendar_date
from enum import StrEnum
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from speech import egress
from speech.errors import FieldError, InvalidRequest
from speech.policy import MAX_SPEAKERS, Speaker
from speech.vendors.base import INSTEAD_OF_TEXT

FORMATS = ("mp3", "wav", "ogg", "flac", "m4b")
NEEDS_MEDIA_LAYER = "m4b"
DEFAULT_FORMAT = "mp3"
DEFAULT_LOUDNESS = -16.0
MIN_LOUDNESS, MAX_LOUDNESS = -30.0, -8.0
LOUDNESS_OFF = "off"
MIN_SAMPLE_RATE = 8_000
MAX_SAMPLE_RATE = 48_000
MAX_REQUEST_ID = 128
MAX_WEBHOOK_URL = 2_000
MAX_VOICE = 1_000
MAX_METADATA_ENTRIES = 50
MAX_METADATA_KEY = 128
MAX_METADATA_VALUE = 1_024
MAX_METADATA_BYTES = 8_192
MAX_TITLE = 500
MAX_COVER_BYTES = 1_024
"""Of a key in S3."""
MAX_PREVIEW = 300
"""Seconds. Who wants to hear more wants the whole."""

MAX_COST = 1_000_000.0
"""US dollars. More is a slip of the hand."""

# RFC 5646: language, extended languages, script, region, variants, extensions, private use.
_LANGUAGE = re.compile(
    r"(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4,8})(?:-[a-z]{4})?(?:-(?:[a-z]{2}|[0-9]{3}))?"
    r"(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*(?:-[0-9a-wyz](?:-[a-z0-9]{2,8})+)*(?:-x(?:-[a-z0-9]{1,8})+)?"
    r"|x(?:-[a-z0-9]{1,8})+",
    re.ASCII | re.IGNORECASE,
)
MAX_LANGUAGE = 64

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DATE = re.compile(r"\d{4}(?:-\d{2}(?:-\d{2})?)?", re.ASCII)


class Way(StrEnum):
    """How a request came in. A drop's text is its file; only messages name themselves."""

    API = "api"
    UPLOAD = "upload"
    MESSAGE = "message"


def _language(value: str) -> str:
    if len(value) > MAX_LANGUAGE or not _LANGUAGE.fullmatch(value):
        raise ValueError("must be a language tag such as `en`, `de-CH` or `zh-Hant-TW`")
    # The usual spelling, so that `en-us` and `en-US` are the same speech: en, Hant, US.
    parts = value.split("-")
    for at, part in enumerate(parts):
        if at and len(parts[at - 1]) == 1:
            break
        parts[at] = part.upper() if at and len(part) == 2 else part.title() if at and len(part) == 4 else part.lower()
    return "-".join(parts)


def _format(value: str) -> str:
    if value not in FORMATS:
        raise ValueError("must be one of `mp3`, `wav`, `ogg`, `flac`, and `m4b` where the stack has its media layer")
    return value


def _loudness(value: object) -> object:
    if value is False or value == LOUDNESS_OFF:
        return LOUDNESS_OFF
    if isinstance(value, int | float) and not isinstance(value, bool) and MIN_LOUDNESS <= value <= MAX_LOUDNESS:
        return float(value)
    raise ValueError(
        f"must be LUFS between {MIN_LOUDNESS:.0f} and {MAX_LOUDNESS:.0f}, or `false` to leave it as it comes"
    )


def _printable(value: str) -> str:
    if _CONTROL.search(value) or not value.strip():
        raise ValueError("must be printable text without control characters")
    return value


def _date(value: str) -> str:
    with suppress(ValueError):
        if _DATE.fullmatch(value) and calendar_date.fromisoformat(value + "-01-01"[len(value) - 4 :]):
            return value
    raise ValueError("must be a day, a month or a year, such as `2026-11-20`, `2026-11` or `2026`")


def _cover(value: str) -> str:
    if not 1 <= len(_printable(value).encode(errors="replace")) <= MAX_COVER_BYTES:
        raise ValueError(f"must be the key of a picture in the audio bucket, of at most {MAX_COVER_BYTES} bytes")
    return value


def _metadata(value: dict[str, str]) -> dict[str, str]:
    if len(value) > MAX_METADATA_ENTRIES:
        raise ValueError(f"may have at most {MAX_METADATA_ENTRIES} entries")
    for key, item in value.items():
        if not 1 <= len(key) <= MAX_METADATA_KEY:
            raise ValueError(f"keys must have 1 to {MAX_METADATA_KEY} characters")
        if len(item) > MAX_METADATA_VALUE:
            # A key is the sender's own; only a plain one is repeated back.
            named = f"`{key}`" if re.fullmatch(r"[\w .:-]+", key) else "an entry"
            raise ValueError(f"the value of {named} has more than {MAX_METADATA_VALUE} characters")
    if sum(len(key.encode()) + len(item.encode()) for key, item in value.items()) > MAX_METADATA_BYTES:
        raise ValueError(f"may have at most {MAX_METADATA_BYTES} bytes in all")
    return value


def _webhook_url(value: str) -> str:
    if len(value) > MAX_WEBHOOK_URL:
        raise ValueError(f"may have at most {MAX_WEBHOOK_URL} characters")
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    well_formed = value.isascii() and not re.search(r"[\x00-\x20\x7f\\]", value)
    if not well_formed or parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("must be an https address such as `https://example.com/hook`")
    if "@" in parts.netloc or "#" in value:
        raise ValueError("must have neither a user name nor a fragment")
    return value


def _lexicon(value: object) -> list[dict[str, Any]]:
    from speech.text.lexicon import read_option

    return read_option(value)


def _speaker(value: str) -> str:
    return str(Speaker.parse(value))


def is_request_id(value: str) -> bool:
    return len(value) <= MAX_REQUEST_ID and bool(value.strip()) and not _CONTROL.search(value)


Name = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_printable)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TITLE), AfterValidator(_printable)]
RequestId = Annotated[str, StringConstraints(min_length=1, max_length=MAX_REQUEST_ID), AfterValidator(_printable)]


class PreviewRequest(BaseModel):
    """How much of the opening is wanted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    seconds: Annotated[int, Field(ge=1, le=MAX_PREVIEW)]


class JobRequest(BaseModel):
    """The options of a job as they were sent; whatever was left out is None. Types are never guessed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    text: str | None = None
    vendor: Name | None = None
    voice: Annotated[str, StringConstraints(min_length=1, max_length=MAX_VOICE), AfterValidator(_printable)] | None = (
        None
    )
    language: Annotated[str, AfterValidator(_language)] | None = None
    format: Annotated[str, AfterValidator(_format)] | None = None
    sample_rate: Annotated[int, Field(ge=MIN_SAMPLE_RATE, le=MAX_SAMPLE_RATE)] | None = None
    title: Title | None = None
    author: Title | None = None
    date: Annotated[str, AfterValidator(_date)] | None = None
    cover: Annotated[str, AfterValidator(_cover)] | None = None
    speed: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = None
    loudness: Annotated[float | str, PlainValidator(_loudness)] | None = None
    trim_silence: bool | None = None
    metadata: Annotated[dict[str, str], AfterValidator(_metadata)] | None = None
    webhook_url: Annotated[str, AfterValidator(_webhook_url)] | None = None
    vendor_options: dict[str, Any] | None = None
    fallback: Annotated[list[Annotated[str, AfterValidator(_speaker)]], Field(max_length=MAX_SPEAKERS)] | None = None
    lexicon: Annotated[Any, AfterValidator(_lexicon)] | None = None
    preview: PreviewRequest | None = None
    max_cost: Annotated[float, Field(gt=0, le=MAX_COST, allow_inf_nan=False)] | None = None
    request_id: RequestId | None = None

    @classmethod
    def parse(cls, value: object, way: Way) -> Self:
        """Raises InvalidRequest with everything that is wrong, field by field."""
        if not isinstance(value, Mapping):
            raise InvalidRequest("The job request must be a JSON object with a `text`.")
        errors = [FieldError(field, message) for field, message in _NOT_HERE[way].items() if field in value]
        try:
            request = cls.model_validate({key: item for key, item in value.items() if key not in _NOT_HERE[way]})
        except ValidationError as error:
            errors += [_field_error(each) for each in error.errors(include_url=False, include_context=True)]
        else:
            if (
                way is not Way.UPLOAD
                and request.text is None
                and not INSTEAD_OF_TEXT & set(request.vendor_options or ())
            ):
                errors.append(FieldError("text", "is missing; it is the text to speak"))
            if not errors:
                return request
        raise invalid(errors)


_NOT_HERE: Mapping[Way, Mapping[str, str]] = {
    Way.API: {"request_id": "belongs to queue messages; over HTTP send the header Idempotency-Key instead"},
    Way.MESSAGE: {},
    Way.UPLOAD: {
        "text": "is not an option here; the text is the content of the file",
        "request_id": "is not an option here; a file is known by its bucket, key and version",
    },
}

OPTIONS = tuple(name for name in JobRequest.model_fields if name not in _NOT_HERE[Way.UPLOAD])
"""The options of a drop."""

STRINGS = frozenset({"vendor", "voice", "language", "format", "title", "author", "date", "cover", "webhook_url"})
"""Options whose value is a string, and so is never read as JSON."""


def invalid(errors: list[FieldError]) -> InvalidRequest:
    """One error for all that is wrong; its detail alone says what to do."""
    return InvalidRequest("; ".join(f"`{each.field}` {each.message}" for each in errors[:10]) + ".", errors=errors)


def require_https(url: str | None, *, local: bool) -> None:
    """Plain http reaches customers only on a stack that says it is local."""
    if url is None or local:
        return
    if urlsplit(url).scheme != "https":
        raise invalid([FieldError("webhook_url", "must begin with https://")])
    try:
        host = egress.parse(url, local=False).host
    except egress.EgressRefused as error:
        raise invalid([FieldError("webhook_url", f"cannot be called: {error.detail}")]) from error
    # What a name resolves to is judged whenever the webhook is sent.
    if re.fullmatch(r"[0-9.]+|.*:.*", host) and not egress.is_public(host):
        raise invalid([FieldError("webhook_url", "must be a public address")])


def formats(*, media_layer: bool) -> list[str]:
    """What a stack can make."""
    return [each for each in FORMATS if media_layer or each != NEEDS_MEDIA_LAYER]


def require_format(format: str | None, *, media_layer: bool) -> None:
    """Raises InvalidRequest for what this stack was deployed without."""
    if format == NEEDS_MEDIA_LAYER and not media_layer:
        message = (
            "`m4b` needs the media layer, which this stack was deployed without (`make deploy MEDIA=1`, on a laptop "
            "`make up MEDIA=1`); `mp3`, `wav`, `ogg` and `flac` need nothing"
        )
        raise invalid([FieldError("format", message)])


_MESSAGES: Mapping[str, str] = {
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be `true` or `false`",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "finite_number": "must be a number",
    "int_from_float": "must be a whole number",
    "string_unicode": "must be text",
}


def _field_error(error: ErrorDetails) -> FieldError:
    context = error.get("ctx", {})
    path = [str(part) for part in error["loc"] if part != "[key]"]
    field, kind = ".".join(path)[:200], error["type"]
    if path[0] == "preview" and kind != "value_error":
        return FieldError("preview", f'must look like {{"seconds": 30}}, with 1 to {MAX_PREVIEW} seconds')
    if kind == "extra_forbidden":
        return FieldError(
            field, f"is not a field of a job request; the fields are {', '.join(JobRequest.model_fields)}"
        )
    if kind == "value_error":
        return FieldError(field, str(context["error"]))
    if kind == "string_too_short":
        return FieldError(field, "must not be empty; leave it out instead")
    if kind == "string_too_long":
        return FieldError(field, f"may have at most {context['max_length']} characters")
    if field == "sample_rate" and kind in ("greater_than_equal", "less_than_equal"):
        return FieldError(field, f"must be between {MIN_SAMPLE_RATE} and {MAX_SAMPLE_RATE}")
    if field == "fallback" and kind == "too_long":
        return FieldError(field, f"may have at most {MAX_SPEAKERS} entries")
    if field == "max_cost" and kind in ("greater_than", "less_than_equal"):
        return FieldError(field, f"must be US dollars, greater than 0 and at most {MAX_COST:,.0f}")
    if field == "speed" and kind in ("greater_than", "less_than_equal"):
        return FieldError(field, "must be greater than 0 and at most 100")
    return FieldError(field, _MESSAGES.get(kind, "is not valid"))
