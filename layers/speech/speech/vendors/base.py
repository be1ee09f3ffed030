"""What a vendor is: the interface every adapter implements, and its capabilities as data."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple, Protocol

from speech.errors import UnsupportedOperation


class Delivery(StrEnum):
    """How audio reaches us."""

    IMMEDIATE = "immediate"
    STREAMED = "streamed"
    POLLED = "polled"
    CALLBACK = "callback"


INSTEAD_OF_TEXT = frozenset({"message_id"})
"""Options that name what is to be spoken: the vendor has the text, and any other one is not looked at."""


@dataclass(frozen=True, slots=True)
class Option:
    """One field of the vendor's own request, by the vendor's own name.

    `kind` is string, filename, number, integer, boolean or uuid. Bounds are inclusive. `choices` lists
    the only values allowed. `needs` names the option without which this one means nothing, `only_with`
    another option and the values of it, None for left out, beside which this one means something.
    `allowed_by` names the setting of the stack without which it is refused. `source` says where the fact
    comes from (docs/vendors/<name>.md).
    """

    name: str
    kind: str
    description: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    max_length: int | None = None
    nullable: bool = False
    needs: str = ""
    only_with: tuple[str, tuple[str | None, ...]] | None = None
    allowed_by: str = ""
    source: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it is for the adapter alone: the vendor has no such field."""
        return self.source.startswith("ours")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a vendor can do, as data. GET /v1/vendors, the docs and validation all read this.

    `character_limit` is per request, counted in Unicode code points; `other_limits` are those that hold
    in its place: an option, its value, and the limit. `languages` empty means that the vendor lists none,
    so none is refused. `concurrency` is how many requests may be under way at once. `status` is active or
    retired.
    """

    title: str
    delivery: tuple[Delivery, ...]
    character_limit: int
    voice_required: bool
    audio_formats: tuple[str, ...]
    options: tuple[Option, ...] = ()
    languages: tuple[str, ...] = ()
    speed: tuple[float, float] | None = None
    concurrency: int = 5
    lists_voices: bool = False
    reports_credits: bool = False
    status: str = "active"
    notes: tuple[str, ...] = ()
    other_limits: tuple[tuple[str, str, int], ...] = ()

    def limit_for(self, options: Mapping[str, Any]) -> int:
        """How many characters a request with these options may have."""
        others = (limit for name, value, limit in self.other_limits if options.get(name) == value)
        return next(others, self.character_limit)


class Voice(NamedTuple):
    """One voice of a vendor's list, as the vendor describes it. What it does not tell is None or empty.

    `id` is what a request's `voice` takes. `languages` are tags such as `en` or `pt-BR`.
    """

    id: str
    name: str | None = None
    languages: tuple[str, ...] = ()
    gender: str | None = None
    preview_url: str | None = None


@dataclass(frozen=True, slots=True)
class SynthesisRequest:
    """One segment to be spoken. `options` are the vendor's own fields, already validated."""

    text: str
    voice: str | None = None
    language: str | None = None
    speed: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


class AudioReady(NamedTuple):
    """The vendor's audio, unverified. `media_type` is the vendor's claim, never trusted."""

    data: bytes
    media_type: str | None = None
    request_id: str | None = None
    credits: float | None = None


class StillWorking(NamedTuple):
    """The vendor has a job of its own. `check_after` is in seconds."""

    vendor_job_id: str
    check_after: float
    request_id: str | None = None
    status: str | None = None


class Callback(NamedTuple):
    """What a vendor posted to us, after its token was found genuine. Nothing in it is trusted."""

    headers: Mapping[str, str]
    body: bytes


class Reply(NamedTuple):
    """A vendor's HTTP answer, within the deadline and the byte cap. Header names are lower case.

    A success is `complete` unless the caller took as much as came: see `VendorHttp.request`.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool = True

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class SocketClosed(Exception):
    """The vendor ended a conversation with a close frame. `reason` is its own words."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code)
        self.code = code
        self.reason = reason


class Conversation(Protocol):
    """One exchange on a vendor's WebSocket. Faults are those of `VendorHttp`."""

    handshake: Reply
    """How the vendor answered the upgrade. There is a conversation only if the status is 101."""
    continued: bool
    """Whether an earlier exchange was held on this socket."""

    def say(self, message: Mapping[str, Any]) -> None:
        """Send one message as JSON. From here on a lost answer is ambiguous; that is told by `hear`."""
        ...

    def hear(self) -> bytes:
        """The next message, whole. Raises SocketClosed."""
        ...


class VendorHttp(Protocol):
    """The client handed to an adapter: base URL, total deadline, byte cap and egress rules built in.

    Transport faults are raised as `VendorUnavailable` (nothing was sent), `VendorAmbiguous` (the
    request left, the answer did not arrive whole) or `VendorMisbehaved` (the byte cap). Redirects are
    returned, never followed.
    """

    @property
    def memory(self) -> dict[Any, Any]:
        """What an adapter wants to find again at its next call in this process. Nobody else reads it."""
        ...

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        until: Callable[[bytes], bool] | None = None,
    ) -> Reply:
        """Call the vendor's API at base URL + path.

        `until` is shown each piece of a success as it arrives, and says when there is enough. Then, and
        when the rest does not arrive whole and in time, the answer is what came, and is not `complete`.
        """
        ...

    def fetch(self, url: str) -> Reply:
        """GET a result from anywhere, without credentials, through the egress guard."""
        ...

    def converse(self, path: str, *, headers: Mapping[str, str], keep: str) -> AbstractContextManager[Conversation]:
        """Open a WebSocket at base URL + path, or go on with the one that the last exchange left open.

        That is done only a moment later, and only for the same path, headers and `keep`, which stands for
        whatever was settled by the first message. An exchange that ends with an exception leaves nothing.
        """
        ...


class Vendor(ABC):
    """An adapter to one company's speech API. It does not retry, sleep, touch AWS or log text."""

    name: ClassVar[str]
    base_url: ClassVar[str]
    """Where the vendor is, unless the operator says otherwise."""
    capabilities: ClassVar[Capabilities]
    key_names: ClassVar[tuple[str, ...]] = ()
    """The vendor's entries in the vendor secret."""
    voice_kind: ClassVar[str] = "string"
    """What a voice id looks like: string or uuid."""

    def __init__(self, http: VendorHttp, keys: Mapping[str, str]) -> None:
        """`keys` are the vendor's entries of the vendor secret, by their names there."""
        self._http = http
        self._keys = keys

    @abstractmethod
    def start(self, request: SynthesisRequest, *, callback_url: str | None = None) -> AudioReady | StillWorking:
        """Ask for speech. Returns audio, or a handle to a job the vendor is still working on."""

    def check(self, vendor_job_id: str) -> AudioReady | StillWorking:
        """Ask how a vendor job is doing."""
        raise UnsupportedOperation(f"{self.name} answers at once; there is nothing to check")

    def read_callback(self, callback: Callback) -> str:
        """Return the vendor job a callback speaks about. Its other claims are not trusted."""
        raise UnsupportedOperation(f"{self.name} sends no callbacks")

    def reconcile(self, callback_urls: Sequence[str]) -> StillWorking | None:
        """Find a vendor job that a lost create made, or None when there is surely none.

        Raises UnsupportedOperation where the vendor offers no way to know.
        """
        raise UnsupportedOperation(f"{self.name} cannot say what a lost call did")

    def probe(self) -> None:
        """Ask something that costs nothing, to see whether the vendor is there for us. Raises VendorError.

        Of a vendor that can be asked nothing, the next call itself will tell.
        """
        if self.capabilities.reports_credits:
            self.credits_left()
        elif self.capabilities.lists_voices:
            self.voices()

    def voices(self) -> list[Voice]:
        """The voices a request may ask for, in the vendor's order. Costs nothing.

        Implemented by those whose capabilities say `lists_voices`.
        """
        raise UnsupportedOperation(f"{self.name} has no list of voices")

    def credits_left(self) -> float:
        """What the account has left, in the vendor's own credits. Costs nothing.

        Implemented by those whose capabilities say `reports_credits`.
        """
        raise UnsupportedOperation(f"{self.name} does not say what is left")
