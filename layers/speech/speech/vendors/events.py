"""Reading a stream of server-sent events piece by piece, as the HTML standard says they are to be read."""

import re
from typing import NamedTuple

_LINE_END = re.compile(rb"\r\n|\n|\r")


class Event(NamedTuple):
    """One event. `name` is `message` where the stream names none."""

    name: str
    data: str


class EventReader:
    """Takes pieces as they arrive, cut anywhere, also inside a character or between CR and LF."""

    def __init__(self) -> None:
        self._rest = b""
        self._started = self._after_cr = False
        self._name = ""
        self._data: list[str] = []

    def read(self, piece: bytes) -> list[Event]:
        """The events that this piece completes."""
        if not piece:
            return []
        if self._after_cr:
            piece = piece.removeprefix(b"\n")
        self._after_cr = piece.endswith(b"\r")
        # Lines are found among the bytes: none of those of a longer character looks like a line end.
        *lines, self._rest = _LINE_END.split(self._rest + piece)
        events = (self._line(line) for line in lines)
        return [event for event in events if event is not None]

    def _line(self, line: bytes) -> Event | None:
        if not self._started:
            line, self._started = line.removeprefix(b"\xef\xbb\xbf"), True
        if line:
            name, _, value = line.decode("utf-8", "replace").partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                self._name = value
            elif name == "data":
                self._data.append(value)
            return None  # a comment has no name; `id` and `retry` are for who connects again
        event = Event(self._name or "message", "\n".join(self._data)) if self._data else None
        self._name, self._data = "", []
        return event
