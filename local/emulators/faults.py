"""What can be made to go wrong with the next answers of an emulator."""

import gzip
import io
import json
import threading
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from local.emulators.voice import (
    Encoding,
    Speech,
    encode,
    noise_like,
    silence_like,
    with_placeholder_sizes,
)

PNG: Final = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


class Fault(BaseModel):
    """One fault and the requests it plays to. What a fault does not use, it ignores."""

    model_config = ConfigDict(extra="forbid")

    fault: str
    times: int | None = Field(default=1, ge=1)  # None: until it is cleared
    skip: int = Field(default=0, ge=0)  # let so many matching requests pass first
    match: str | None = None  # part of the text, or of "METHOD /path"; without it, the route the fault is about
    route: str | None = None  # part of "METHOD /path"
    billed: bool | None = None  # None: as the catalogue says
    status: int = 500
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = None  # a string is sent as it is, anything else as JSON; None: the vendor's own words
    content_type: str | None = None
    seconds: float = Field(default=60.0, ge=0, le=600)
    bytes: int | None = Field(default=None, ge=0, le=2**30)
    framing: Literal["length", "close", "chunked"] = "length"
    container: str | None = None
    location: str | None = None
    reason: str | None = None
    close_code: int = Field(default=1011, ge=1000, le=4999)


About = Literal["create", "audio", "socket"]


@dataclass(frozen=True)
class Kind:
    """What is known about a fault by its name."""

    about: About  # the route it plays to when nothing else is said
    after: bool  # after synthesis, so that the vendor has charged
    needs_speech: bool = False
    in_handler: bool = False  # the vendor's own handler plays it


BEFORE: Final = Kind(about="create", after=False)
INSTEAD: Final = Kind(about="audio", after=True)
SPOILED: Final = Kind(about="audio", after=True, needs_speech=True)

GENERIC: Final[Mapping[str, Kind]] = {
    "status": BEFORE,  # any status, headers and body
    "hang": BEFORE,  # no answer for `seconds`, then a reset
    "reset": BEFORE,  # the connection is reset before a header
    "redirect": BEFORE,  # `status` (302 by default) to `location`
    "lost": Kind(about="create", after=True),  # done and charged, then the connection is reset
    "drip": INSTEAD,  # the answer over `seconds`, in small pieces
    "cut": INSTEAD,  # `bytes` of the answer, then the end, under one of three framings
    "stall": INSTEAD,  # `bytes` of the answer, then nothing for `seconds`
    "false-length": INSTEAD,  # a Content-Length that is too high, then nothing
    "endless": INSTEAD,  # the answer again and again, up to `bytes`
    "empty": INSTEAD,  # 200, and nothing
    "no-content": INSTEAD,  # 204
    "json": INSTEAD,  # 200 with a JSON error
    "html": INSTEAD,  # 200 with a page
    "text": INSTEAD,  # 200 with a sentence
    "null": INSTEAD,  # 200 with the JSON null
    "gzip": INSTEAD,  # compressed, asked for or not
    "bomb": INSTEAD,  # compressed zeros, `bytes` when unpacked
    "truncated": INSTEAD,  # half of the file, with headers that say it is whole
    "twice": INSTEAD,  # the file two times in a row
    "json-after-audio": INSTEAD,
    "json-before-audio": INSTEAD,
    "wrong-content-type": INSTEAD,
    "silent": SPOILED,
    "noise": SPOILED,
    "short": SPOILED,  # a whole file that ends in the middle of the text
    "wrong-container": SPOILED,  # `container`: an audio container, "png" or "zip"
    "placeholder-sizes": SPOILED,  # a WAV whose header was written before its length was known
}


@dataclass(frozen=True)
class Answer:
    """An answer on its way out; `speech` and `encoding` are there when it holds audio."""

    status: int
    headers: Mapping[str, str]
    content_type: str
    body: bytes
    speech: Speech | None = None
    encoding: Encoding | None = None
    chunked: bool = False


class FaultError(ValueError):
    """A fault that this emulator cannot play."""


class FaultList:
    """The faults still to be played, first come first."""

    def __init__(self, kinds: Mapping[str, Kind]) -> None:
        self.kinds = kinds
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def play(self, fault: str, **options: Any) -> None:
        """Play a fault to the next requests it matches; the options are the fields of `Fault`."""
        self.add(Fault(fault=fault, **options))

    def add(self, fault: Fault) -> None:
        """Add one at the end."""
        if fault.fault not in self.kinds:
            raise FaultError(f"No fault is called {fault.fault!r}; there are {', '.join(sorted(self.kinds))}.")
        with self._lock:
            self._faults.append(fault.model_copy())

    def take(self, *, route: str, text: str | None, about: frozenset[About]) -> Fault | None:
        """The fault to play to this request, if any; it counts as played."""
        with self._lock:
            for fault in self._faults:
                if not self._plays_to(fault, route=route, text=text, about=about):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times == 0:
                        self._faults.remove(fault)
                return fault.model_copy()
        return None

    def give_back(self, fault: Fault) -> None:
        """It was not played after all: the request was refused for reasons of its own."""
        with self._lock:
            self._faults.insert(0, fault.model_copy(update={"times": 1, "skip": 0}))

    def _plays_to(self, fault: Fault, *, route: str, text: str | None, about: frozenset[About]) -> bool:
        kind = self.kinds[fault.fault]
        if fault.route is not None and fault.route not in route:
            return False
        if fault.match is not None and fault.match not in route and (text is None or fault.match not in text):
            return False
        named_by_route = fault.route is not None or (fault.match is not None and fault.match in route)
        if named_by_route and not (kind.needs_speech or kind.in_handler):
            return True
        return kind.about in about

    @property
    def waiting(self) -> list[Fault]:
        """What has not been played yet."""
        with self._lock:
            return [fault.model_copy() for fault in self._faults]

    def clear(self) -> None:
        """Play no more."""
        with self._lock:
            self._faults.clear()


def spoil(fault: Fault, answer: Answer) -> Answer:
    """The answer as the fault leaves it, for faults of content. Faults of transport leave it as it is."""
    change = _CHANGES.get(fault.fault)
    if change is None:
        return answer
    changed = change(fault, answer)
    content_type = fault.content_type or changed.content_type
    return replace(changed, content_type=content_type, headers={**changed.headers, **fault.headers})


def body_of(fault: Fault, default: Any) -> tuple[bytes, str]:
    """The body that a fault asks for and its media type; strings as they are, anything else as JSON."""
    body = default if fault.body is None else fault.body
    if isinstance(body, str):
        return body.encode(), fault.content_type or "text/plain"
    return json.dumps(body).encode(), fault.content_type or "application/json"


def _instead(status: int, body: str, content_type: str) -> Callable[[Fault, Answer], Answer]:
    def change(fault: Fault, _answer: Answer) -> Answer:
        data = body.encode() if fault.body is None else body_of(fault, None)[0]
        return Answer(status=status, headers={}, content_type=content_type, body=data)

    return change


def _respoken(change: Callable[[Speech], Speech]) -> Callable[[Fault, Answer], Answer]:
    def spoken_again(_fault: Fault, answer: Answer) -> Answer:
        speech, encoding = _speech_in(answer)
        return replace(answer, body=encode(change(speech), encoding))

    return spoken_again


def _half(speech: Speech) -> Speech:
    return Speech(speech.pcm[: len(speech.pcm) // 2], speech.sample_rate)


def _truncated(fault: Fault, answer: Answer) -> Answer:
    keep = len(answer.body) // 2 if fault.bytes is None else fault.bytes
    return replace(answer, body=answer.body[:keep])


def _wrong_container(fault: Fault, answer: Answer) -> Answer:
    speech, encoding = _speech_in(answer)
    container = fault.container or ("mp3" if encoding.container == "wav" else "wav")
    if container == "png":
        return replace(answer, body=PNG)
    if container == "zip":
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr(f"audio.{encoding.container}", answer.body)
        return replace(answer, body=archive.getvalue())
    return replace(answer, body=encode(speech, Encoding(container, 48000 if container == "opus" else 24000)))


def _placeholder_sizes(_fault: Fault, answer: Answer) -> Answer:
    speech, encoding = _speech_in(answer)
    wav = encode(speech, Encoding("wav", encoding.sample_rate))
    return replace(answer, body=with_placeholder_sizes(wav))


def _gzip(_fault: Fault, answer: Answer) -> Answer:
    headers = {**answer.headers, "Content-Encoding": "gzip"}
    return replace(answer, body=gzip.compress(answer.body, mtime=0), headers=headers)


def _bomb(fault: Fault, answer: Answer) -> Answer:
    packed = io.BytesIO()
    zeros, left = bytes(1024 * 1024), 256 * 1024 * 1024 if fault.bytes is None else fault.bytes
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1, mtime=0) as file:
        while left > 0:
            left -= file.write(zeros[:left])
    return replace(answer, body=packed.getvalue(), headers={**answer.headers, "Content-Encoding": "gzip"})


def _speech_in(answer: Answer) -> tuple[Speech, Encoding]:
    if answer.speech is None or answer.encoding is None:
        raise FaultError("This answer holds no audio.")
    return answer.speech, answer.encoding


_ERROR_JSON: Final = '{"error": "Something went wrong.", "status": 500}'
_PAGE: Final = "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head><body>Bad Gateway</body></html>\n"

_CHANGES: Final[dict[str, Callable[[Fault, Answer], Answer]]] = {
    "empty": lambda _fault, answer: replace(answer, body=b""),
    "no-content": _instead(204, "", "application/octet-stream"),
    "json": _instead(200, _ERROR_JSON, "application/json"),
    "html": _instead(200, _PAGE, "text/html"),
    "text": _instead(200, "Something went wrong.", "text/plain"),
    "null": _instead(200, "null\n", "application/json"),
    "gzip": _gzip,
    "bomb": _bomb,
    "truncated": _truncated,
    "twice": lambda _fault, answer: replace(answer, body=answer.body + answer.body),
    "json-after-audio": lambda _fault, answer: replace(answer, body=answer.body + _ERROR_JSON.encode()),
    "json-before-audio": lambda _fault, answer: replace(answer, body=b'{"status": "ok"}\n' + answer.body),
    "wrong-content-type": lambda _fault, answer: replace(answer, content_type="text/html"),
    "silent": _respoken(silence_like),
    "noise": _respoken(noise_like),
    "short": _respoken(_half),
    "wrong-container": _wrong_container,
    "placeholder-sizes": _placeholder_sizes,
}
