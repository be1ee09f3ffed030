"""The event bus: tells the rest of the account how a job ended."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from speech.aws.faults import translated
from speech.errors import StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

SOURCE = "voicedrop"


class EventBridgeBus:
    def __init__(self, client: "EventBridgeClient", name: str) -> None:
        self._client = client
        self._name = name

    def publish(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        with translated():
            answer = self._client.put_events(
                Entries=[
                    {
                        "EventBusName": self._name,
                        "Source": SOURCE,
                        "DetailType": detail_type,
                        "Detail": json.dumps(dict(detail), ensure_ascii=False),
                    }
                ]
            )
        if answer["FailedEntryCount"]:
            raise StoreUnavailable("The event bus did not take the event.")
