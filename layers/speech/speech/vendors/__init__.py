"""The registry of vendors: their names in one place, their modules imported when first asked for."""

import importlib
import re
from collections.abc import Mapping
from typing import Any

from speech.errors import FieldError, InvalidRequest, UnknownVendor, UnsupportedOption
from speech.vendors.base import Capabilities, Option, Vendor

_CLASSES: Mapping[str, str] = {
    "convai": "Convai",
    "voiceai": "VoiceAi",
    "dify": "Dify",
    "playht": "PlayHt",
    "creatify": "Creatify",
}

VENDORS: tuple[str, ...] = tuple(_CLASSES)

MAX_STRING = 1000
_MAX_NUMBER = 2**53  # beyond it JSON readers disagree; NaN and infinity fail the comparison too
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def vendor_class(name: str) -> type[Vendor]:
    """The adapter of a vendor. Raises UnknownVendor."""
    if name not in _CLASSES:
        message = f"must be one of {', '.join(VENDORS)}"
        raise UnknownVendor(f"The vendor {message}.", errors=[FieldError("vendor", message)])
    found: type[Vendor] = getattr(importlib.import_module(f"speech.vendors.{name}"), _CLASSES[name])
    return found


def capabilities(name: str) -> Capabilities:
    """What a vendor can do. Raises UnknownVendor."""
    return vendor_class(name).capabilities


def keys_of(name: str) -> tuple[str, ...]:
    """The names of a vendor's entries in the vendor secret. Raises UnknownVendor."""
    return vendor_class(name).key_names


def check_request(
    name: str,
    *,
    voice: str | None = None,
    language: str | None = None,
    speed: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Refuse what the vendor's API cannot express; returns the options as they will be sent.

    Raises UnknownVendor, UnsupportedOption or InvalidRequest, naming every field that is wrong. Policies
    of the vendor, which change, are left to the vendor.
    """
    vendor = vendor_class(name)
    known = vendor.capabilities
    wrong: list[FieldError] = []
    unsupported: list[FieldError] = []
    if voice is None or not voice.strip():
        if known.voice_required or voice is not None:
            wrong.append(FieldError("voice", f"{known.title} needs a voice: one of its voice ids"))
    elif vendor.voice_kind == "uuid" and not _UUID.fullmatch(voice):
        wrong.append(FieldError("voice", f"a voice of {known.title} is a uuid"))
    elif len(voice) > MAX_STRING or _CONTROL.search(voice):
        wrong.append(FieldError("voice", f"must be at most {MAX_STRING} characters, none of them control characters"))
    if language is not None and known.languages and language.partition("-")[0].lower() not in known.languages:
        unsupported.append(FieldError("language", f"{known.title} speaks {', '.join(known.languages)}"))
    if speed is not None:
        if known.speed is None:
            unsupported.append(FieldError("speed", f"{known.title} has no speed"))
        elif not known.speed[0] <= speed <= known.speed[1]:
            wrong.append(FieldError("speed", f"must be from {known.speed[0]:g} to {known.speed[1]:g}"))
    checked, more_wrong, more_unsupported = _checked(known, options or {})
    _raise(wrong + more_wrong, unsupported + more_unsupported)
    return checked


def validate_options(known: Capabilities, options: Mapping[str, Any]) -> dict[str, Any]:
    """A vendor's own fields, checked against its types and ranges. Raises UnsupportedOption, InvalidRequest."""
    checked, wrong, unsupported = _checked(known, options)
    _raise(wrong, unsupported)
    return checked


def _raise(wrong: list[FieldError], unsupported: list[FieldError]) -> None:
    errors = [*unsupported, *wrong]
    if not errors:
        return
    summary = "; ".join(f"{each.field}: {each.message}" for each in errors) + "."
    raise (UnsupportedOption if unsupported else InvalidRequest)(summary, errors=errors)


def _checked(
    known: Capabilities, options: Mapping[str, Any]
) -> tuple[dict[str, Any], list[FieldError], list[FieldError]]:
    by_name = {option.name: option for option in known.options}
    checked: dict[str, Any] = {}
    wrong: list[FieldError] = []
    unsupported: list[FieldError] = []
    for name, value in options.items():
        # A name we do not know is the sender's own; only a plain one is repeated back.
        field = f"vendor_options.{name}" if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", str(name)) else "vendor_options"
        option = by_name.get(name)
        if option is None:
            offered = f"it takes {', '.join(by_name)}" if by_name else "it takes none"
            unsupported.append(FieldError(field, f"{known.title} has no such option; {offered}"))
            continue
        message = _complaint(option, value)
        if message is None and option.needs and options.get(option.needs) is None:
            message = f"means nothing without {option.needs}"
        if message is None and value is not None and option.only_with:
            message = _misplaced(option.only_with, options)
        if message is not None:
            (unsupported if option.choices and isinstance(value, str) else wrong).append(FieldError(field, message))
            continue
        checked[name] = int(value) if option.kind == "integer" and value is not None else value
    return checked, wrong, unsupported


def _complaint(option: Option, value: Any) -> str | None:
    """What is wrong with a value, or None."""
    if value is None:
        return None if option.nullable else "must not be null"
    if option.kind == "boolean":
        return None if isinstance(value, bool) else "must be true or false"
    if option.kind in ("number", "integer"):
        return _number_complaint(option, value)
    if not isinstance(value, str):
        return "must be a string"
    if option.choices:
        return None if value in option.choices else f"must be one of {', '.join(option.choices)}"
    if option.kind == "uuid":
        return None if _UUID.fullmatch(value) else "must be a uuid"
    longest = option.max_length or MAX_STRING
    if not 0 < len(value) <= longest or _CONTROL.search(value):
        return f"must be 1 to {longest} characters, none of them control characters"
    if option.kind == "filename" and not _is_plain_name(value):
        return "must be a plain file name, without a folder"
    return None


def _is_plain_name(value: str) -> bool:
    """Whether a file could have this name anywhere, and shows all of it: no folder, no invisible marks."""
    return value.isprintable() and value.strip(". ") != "" and not any(sign in value for sign in '/\\:*?"<>|')


def _misplaced(only_with: tuple[str, tuple[str | None, ...]], options: Mapping[str, Any]) -> str | None:
    other, values = only_with
    if options.get(other) in values:
        return None
    named = " or ".join(value for value in values if value is not None)
    return f"means something only with {other} {named}"


def _number_complaint(option: Option, value: Any) -> str | None:
    kind = "an integer" if option.kind == "integer" else "a number"
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_MAX_NUMBER <= value <= _MAX_NUMBER:
        return f"must be {kind}"
    if option.kind == "integer" and value != int(value):
        return f"must be {kind}"
    low, high = option.minimum, option.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        if high is None:
            return f"must be at least {low:g}"
        return f"must be at most {high:g}" if low is None else f"must be from {low:g} to {high:g}"
    return None
