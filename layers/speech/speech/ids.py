"""Names of jobs and of segment audio: random, or derived so that the same trigger always gives the same."""

import hashlib
import json
import re
import secrets
import unicodedata
from collections.abc import Mapping
from typing import Any

from speech.jobs import Spec

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no letter that is easily taken for another."""

PREFIX = "job_"
DIGITS = 26

NOT_AUDIBLE = frozenset({"delivery", "filename", "streaming"})
"""Vendor options that change how audio reaches us, but not what is heard. Every other one is part of the key."""

LEFT_OUT: Mapping[str, Mapping[str, Any]] = {
    "voiceai": {"audio_format": "wav", "temperature": 1, "top_p": 0.8},
    "playht": {"voice_engine": "PlayHT2.0"},
}
"""What a vendor documents, or its adapter sends, for an option that is left out: to say it is to say nothing."""

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_VALUES = {digit: value for value, digit in enumerate(ALPHABET)}


def new_job_id(now: int) -> str:
    """A job id that nobody can guess and that sorts by time. `now` is in epoch milliseconds."""
    return _job_id((now & (2**48 - 1)) << 80 | secrets.randbits(80))


def derived_job_id(tenant: str, kind: str, *identity: str | None) -> str:
    """The id of the job that this very trigger makes, however often it arrives."""
    return _job_id(int.from_bytes(hashlib.sha256(canonical([tenant, kind, *identity])).digest()[:16], "big"))


def job_id_bytes(job_id: str) -> bytes:
    """The 16 bytes behind a job id. Raises ValueError for anything that is not one of ours."""
    digits = job_id.removeprefix(PREFIX)
    if not job_id.startswith(PREFIX) or len(digits) != DIGITS:
        raise ValueError("not a job id")
    number = 0
    for digit in digits:
        if digit not in _VALUES:
            raise ValueError("not a job id")
        number = number << 5 | _VALUES[digit]
    if number >> 128:
        raise ValueError("not a job id")
    return number.to_bytes(16, "big")


def job_id_from_bytes(raw: bytes) -> str:
    return _job_id(int.from_bytes(raw, "big"))


def is_job_id(value: str) -> bool:
    try:
        job_id_bytes(value)
    except ValueError:
        return False
    return True


def segment_key(tenant: str, spec: Spec, text: str) -> str:
    """The content address of a segment's audio: a hash of everything that affects its sound, each in one form.

    That of an option is settled here and not where a request is read: what is sent to a vendor stays as it was asked.
    """
    left_out = LEFT_OUT.get(spec.vendor, {})
    options = {
        name: value
        for name, value in ((name, _one_form(value)) for name, value in spec.vendor_options.items())
        if name not in NOT_AUDIBLE and value is not None and value != left_out.get(name)
    }
    voice, speed = _one_form(spec.voice), None if spec.speed is None else float(spec.speed)
    spoken = unicodedata.normalize("NFC", text)
    digest = hashlib.sha256(
        canonical([1, tenant, spec.vendor, voice, spec.language, speed, options, spoken])
    ).hexdigest()
    return f"{tenant}/{digest[:2]}/{digest}"


def _one_form(value: Any) -> Any:
    """1.0 is 1, and a UUID is the same in capitals."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value.lower() if isinstance(value, str) and _UUID.fullmatch(value) else value


def canonical(value: Any) -> bytes:
    """The one JSON text of a value, as bytes to be hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def _job_id(number: int) -> str:
    return PREFIX + "".join(ALPHABET[number >> shift & 31] for shift in range(5 * (DIGITS - 1), -1, -5))
