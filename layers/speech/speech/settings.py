"""The environment of a function, read once and typed."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from speech.errors import SpeechError

TENANT = "default"
"""Every key begins with a tenant; until there are tenants it is this one."""

LONGEST_VENDOR_CALL_SECONDS = 70.0
"""A function that calls a vendor runs for at most 90 s (template.yaml); the rest is for our own work."""

MARGIN_SECONDS = 15.0
"""How long before its lease ends a worker must have given up on a vendor, so that it can still write."""


class BadSettings(SpeechError):
    code = "bad-settings"
    title = "The stack is not configured as it must be"


@dataclass(frozen=True, slots=True)
class Settings:
    """Durations are in seconds. Names of resources are empty where a function does not need them."""

    jobs_table: str = ""
    texts_bucket: str = ""
    audio_bucket: str = ""
    work_bucket: str = ""
    queue_urls: Mapping[str, str] = field(default_factory=dict)
    vendor_secret_arn: str = ""
    signing_secret_arn: str = ""
    event_bus_name: str = ""
    base_urls: Mapping[str, str] = field(default_factory=dict)
    callback_base_url: str = ""
    default_vendor: str = "voiceai"
    default_voices: Mapping[str, str] = field(default_factory=dict)
    job_deadline_seconds: float = 21_600
    segment_attempts: int = 4
    lease_seconds: float = 120
    local: bool = False
    dify_message_ids: bool = False
    media_layer: bool = False

    @property
    def vendor_deadline_seconds(self) -> float:
        """The total time a vendor call may take: it must end well inside the lease."""
        return min(LONGEST_VENDOR_CALL_SECONDS, max(self.lease_seconds - MARGIN_SECONDS, self.lease_seconds / 2))

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> "Settings":
        """Read the environment. Raises BadSettings naming the variable that is wrong."""
        source = os.environ if env is None else env

        def number(name: str, default: float) -> float:
            raw = source.get(name, "").strip()
            if not raw:
                return default
            try:
                value = float(raw)
            except ValueError:
                value = -1.0
            if not 0 < value < 10**9:
                raise BadSettings(f"{name} must be a positive number.")
            return value

        return cls(
            jobs_table=source.get("JOBS_TABLE", ""),
            texts_bucket=source.get("TEXTS_BUCKET", ""),
            audio_bucket=source.get("AUDIO_BUCKET", ""),
            work_bucket=source.get("WORK_BUCKET", ""),
            queue_urls={
                name.removesuffix("_QUEUE_URL").lower(): value
                for name, value in source.items()
                if name.endswith("_QUEUE_URL") and value
            },
            vendor_secret_arn=source.get("VENDOR_SECRET_ARN", ""),
            signing_secret_arn=source.get("SIGNING_SECRET_ARN", ""),
            event_bus_name=source.get("EVENT_BUS_NAME", ""),
            base_urls={
                name.removesuffix("_BASE_URL").lower(): _base_url(name, value)
                for name, value in source.items()
                if name.endswith("_BASE_URL") and value and name != "CALLBACK_BASE_URL"
            },
            callback_base_url=_base_url("CALLBACK_BASE_URL", source.get("CALLBACK_BASE_URL", "")),
            default_vendor=source.get("DEFAULT_VENDOR", "") or "voiceai",
            default_voices=parse_default_voices(source.get("DEFAULT_VOICES", "")),
            job_deadline_seconds=number("JOB_DEADLINE_SECONDS", 21_600),
            segment_attempts=max(1, int(number("SEGMENT_ATTEMPTS", 4))),
            lease_seconds=number("LEASE_SECONDS", 120),
            local=source.get("LOCAL", "").lower() == "true",
            dify_message_ids=source.get("DIFY_MESSAGE_IDS", "").lower() == "true",
            media_layer=source.get("MEDIA_LAYER", "").lower() == "true",
        )


def _base_url(name: str, value: str) -> str:
    if not value:
        return ""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadSettings(f"{name} must be an http or https address.")
    return value.rstrip("/")


def parse_default_voices(raw: str) -> dict[str, str]:
    """`vendor=voice, vendor=voice`. Voice ids may hold `=` but no comma."""
    voices: dict[str, str] = {}
    for item in raw.split(","):
        if not item.strip():
            continue
        vendor, separator, voice = item.partition("=")
        if not separator or not vendor.strip() or not voice.strip():
            raise BadSettings("DEFAULT_VOICES must look like vendor=voice, vendor=voice.")
        voices[vendor.strip()] = voice.strip()
    return voices
