"""What a notification of the texts bucket says was dropped, and what else may lie on that queue."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

NEVER_INPUTS = frozenset({"voicedrop.json", "lexicon.csv"})
"""Files that say how to speak the others."""


@dataclass(frozen=True, slots=True)
class Upload:
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
    return Upload(
        bucket=bucket,
        # S3 encodes keys as a form does: `+` is a space, `%2B` a plus. Once, and never again.
        key=unquote_plus(key),
        version_id=version_id if isinstance(version_id, str) and version_id else None,
        sequencer=sequencer,
        happened_at=_milliseconds(record.get("eventTime")),
    )


def _milliseconds(moment: object) -> int:
    try:
        return int(datetime.fromisoformat(str(moment)).timestamp() * 1000)
    except ValueError:
        return 0
