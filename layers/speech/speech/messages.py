"""What travels on our queues: ids only, in a versioned envelope. Text never does."""

import json
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

from speech.errors import InvalidRequest

READABLE = (1, 2)
MAX_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class Message:
    """Base of the envelopes. `v` grows with what a kind of message says; the previous one stays readable."""

    version: ClassVar[int] = 1

    tenant: str
    job_id: str

    def to_json(self) -> str:
        body = json.dumps({"v": self.version, **asdict(self)}, separators=(",", ":"))
        if len(body) > MAX_BYTES:
            raise ValueError(f"A message of {len(body)} bytes: it must carry ids only.")
        return body

    @classmethod
    def from_json(cls, body: str) -> Self:
        """Raises InvalidRequest for anything that is not ours."""
        try:
            data: Any = json.loads(body)
            if data.pop("v") not in READABLE:
                raise InvalidRequest("The message has a version this release does not know.")
            return cls(**data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidRequest("The message is not one of ours.") from error


@dataclass(frozen=True, slots=True)
class StartSegment(Message):
    """Ask the vendor for one segment. `vendor` is whose, so that its row is read with the segment's; new in 2."""

    version: ClassVar[int] = 2

    segment: int
    vendor: str = ""


@dataclass(frozen=True, slots=True)
class CheckSegment(Message):
    """Ask the vendor how one segment is doing. `hint` is a vendor job id that a callback claimed."""

    segment: int
    attempt: int
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class AssembleAudio(Message):
    """Join the stored segments of a job."""


@dataclass(frozen=True, slots=True)
class DeliverEvent(Message):
    """Tell the world how a job ended."""
