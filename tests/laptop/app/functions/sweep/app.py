"""A function that a schedule fires."""

from typing import Any


def handler(event: dict[str, Any], context: Any) -> None:
    print("swept", event["detail-type"])
