"""What an emulator remembers: every synthesis it sold, and every request it received."""

import hashlib
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Purchase:
    """One synthesis that the vendor accepted, and charged for unless `credits` is 0."""

    id: str
    characters: int
    text_sha256: str
    voice: str
    language: str
    seconds: float
    credits: float
    fault: str | None  # what was done to the answer, if it was not delivered as it should be
    model: str | None = None  # what spoke, where the vendor has several
    at: float = field(default_factory=time.time)


class BillingBook:
    """The vendor's own account of what it sold, in order of acceptance."""

    def __init__(self) -> None:
        self._entries: list[Purchase] = []
        self._lock = threading.Lock()

    def enter(
        self,
        text: str,
        *,
        voice: str,
        language: str,
        seconds: float = 0.0,
        credits: float = 0.0,
        id: str | None = None,
        fault: str | None = None,
        model: str | None = None,
    ) -> Purchase:
        """Sell one synthesis. A job that is still to be spoken gets its seconds and credits later."""
        with self._lock:
            purchase = Purchase(
                id=id or uuid.uuid4().hex,
                characters=len(text),
                text_sha256=fingerprint(text),
                voice=voice,
                language=language,
                seconds=seconds,
                credits=credits,
                fault=fault,
                model=model,
            )
            self._entries.append(purchase)
            return purchase

    def strike(self, purchase: Purchase) -> None:
        """Take a purchase back: the vendor does not charge for it."""
        with self._lock:
            self._entries.remove(purchase)

    @property
    def entries(self) -> list[Purchase]:
        """Every purchase, oldest first."""
        with self._lock:
            return list(self._entries)

    def of(self, text: str) -> list[Purchase]:
        """The purchases of exactly this text."""
        wanted = fingerprint(text)
        return [entry for entry in self.entries if entry.text_sha256 == wanted]

    @property
    def characters(self) -> int:
        """Characters sold in all."""
        return sum(entry.characters for entry in self.entries)

    @property
    def credits(self) -> float:
        """Credits charged in all."""
        return sum(entry.credits for entry in self.entries)

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()

    def as_json(self) -> dict[str, Any]:
        """The book as it is read over HTTP."""
        return {
            "entries": [asdict(entry) for entry in self.entries],
            "characters": self.characters,
            "credits": self.credits,
        }


def fingerprint(text: str) -> str:
    """The SHA-256 by which the book knows a text."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


@dataclass
class Undocumented:
    """What a request held that the vendor does not document."""

    headers: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)
    query: list[str] = field(default_factory=list)
    route: bool = False

    def __bool__(self) -> bool:
        return bool(self.headers or self.fields or self.query or self.route)


@dataclass
class Received:
    """One request as it arrived; the values of secrets are left out."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    undocumented: Undocumented = field(default_factory=Undocumented)
    fault: str | None = None
    status: int | None = None  # None while there is no answer, and when there never was one
    at: float = field(default_factory=time.time)


class Journal:
    """The latest requests, oldest first."""

    def __init__(self, keep: int = 50_000) -> None:
        self._entries: deque[Received] = deque(maxlen=keep)

    def record(self, received: Received) -> None:
        """Write one down."""
        self._entries.append(received)

    @property
    def entries(self) -> list[Received]:
        """Every request that is kept."""
        return list(self._entries)

    def to(self, method: str, path: str) -> list[Received]:
        """The requests with this method whose path begins so."""
        return [entry for entry in self.entries if entry.method == method and entry.path.startswith(path)]

    @property
    def undocumented(self) -> list[Received]:
        """The requests that held something the vendor does not document."""
        return [entry for entry in self.entries if entry.undocumented]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()


def masked(values: Iterable[tuple[str, str]], secrets: Iterable[str]) -> dict[str, str]:
    """The values by name, without those of the secrets."""
    hidden = {name.lower() for name in secrets}
    return {name: "***" if name.lower() in hidden else value for name, value in values}
