"""What a notification of the texts bucket says was dropped, and what else may lie on that queue."""

import json
import re
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

NEVER_INPUTS = frozenset({"voicedrop.json", "lexicon.csv"})
"""Files that say how to speak the others."""

LONGEST_KEY_BYTES = 1_024

_SEQUENCER = re.compile(r"[0-9A-Fa-f]{0,64}", re.ASCII)
_VERSION = re.compile(r"[!-~]{0,1024}", re.ASCII)
"""S3 says of a version id that it is opaque, URL-ready and at most 1,024 bytes long."""


class Upload(NamedTuple):
    """One object that was created. `key` is decoded; `happened_at` is in epoch milliseconds, 0 if not said."""

    bucket: str
    key: str
    version_id: str | None
    sequencer: str
    happened_at: int

    @property
    def is_input(self) -> bool:
        return not self.key.endswith("/") and self.key.rsplit("/", 1)[-1] not in NEVER_INPUTS


def uploads_in(body: str) -> list[Upload]:
    """The objects created according to a direct S3 notification.

    Anything else that can reach the queue (`s3:TestEvent`, deletions, envelopes of other services,
    nonsense) holds none.
    """
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        return []
    records = event.get("Records") if isinstance(event, dict) else None
    found = [_upload(record) for record in records] if isinstance(records, list) else []
    return [upload for upload in found if upload is not None]


def _upload(record: Any) -> Upload | None:
    try:
        if record["eventSource"] != "aws:s3" or not record["eventName"].startswith("ObjectCreated:"):
            return None
        described = record["s3"]["object"]
        bucket, key = record["s3"]["bucket"]["name"], described["key"]
        version_id, sequencer = described.get("versionId"), described.get("sequencer") or ""
    except (KeyError, TypeError, AttributeError):
        return None
    if not (isinstance(bucket, str) and bucket and isinstance(key, str) and key and isinstance(sequencer, str)):
        return None
    # S3 encodes keys as a form does: `+` is a space, `%2B` a plus. Once, and never again.
    key = unquote_plus(key)
    if not (_is_key(key) and _SEQUENCER.fullmatch(sequencer) and _is_version(version_id)):
        return None
    return Upload(
        bucket=bucket,
        key=key,
        version_id=version_id or None,
        sequencer=sequencer,
        happened_at=_milliseconds(record.get("eventTime")),
    )


def _is_key(key: str) -> bool:
    """Whether an object can have this key: S3 has none that is longer, or that is not UTF-8."""
    try:
        return 0 < len(key.encode()) <= LONGEST_KEY_BYTES
    except UnicodeEncodeError:
        return False


def _is_version(version_id: object) -> bool:
    return version_id is None or (isinstance(version_id, str) and _VERSION.fullmatch(version_id) is not None)


def _milliseconds(moment: object) -> int:
    try:
        return int(datetime.fromisoformat(moment).timestamp() * 1000) if isinstance(moment, str) else 0
    except (ValueError, OverflowError):
        return 0
