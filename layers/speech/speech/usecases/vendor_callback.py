"""Take a vendor's callback as what it is: a hint that now is a good time to check."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from speech.callbacks import CallbackToken, read_token
from speech.errors import CallbackNotAuthentic, PayloadTooLarge, SpeechError
from speech.messages import CheckSegment
from speech.observability import count
from speech.ports import Clock, Dispatcher, Keys
from speech.vendors.base import Callback

MAX_BODY_BYTES = 64 * 1024
MAX_HINT = 200


@dataclass(frozen=True, slots=True)
class VendorCallback:
    keys: Keys
    dispatcher: Dispatcher
    clock: Clock
    read: Callable[[Callback], str]
    """The adapter's `read_callback`: which vendor job a callback speaks about."""

    def __call__(self, token: str, headers: Mapping[str, str], body: Callable[[], bytes]) -> None:
        """Raises CallbackNotAuthentic before anything else is looked at, the body included."""
        about = self._about(token)
        content = _read(body)
        if len(content) > MAX_BODY_BYTES:
            raise PayloadTooLarge(f"A callback may have at most {MAX_BODY_BYTES} bytes.")
        count("Callbacks")
        self.dispatcher.check(
            CheckSegment(
                tenant=about.tenant,
                job_id=about.job_id,
                segment=about.segment,
                attempt=about.attempt,
                hint=self._hint(Callback(headers=headers, body=content)),
            )
        )

    def _about(self, token: str) -> CallbackToken:
        """What a token stands for that was signed with our key, or with the one before it was rotated."""
        now = self.clock.now()
        for key in self.keys.signing_keys():
            with suppress(CallbackNotAuthentic):
                return read_token(key, token, now)
        count("CallbacksRefused")
        raise CallbackNotAuthentic

    def _hint(self, callback: Callback) -> str | None:
        """The vendor job it names, for whoever checks to confirm; a body that names none is no harm."""
        try:
            hint = self.read(callback)
        except SpeechError:
            return None
        return hint if 0 < len(hint) <= MAX_HINT and hint.isprintable() else None


def _read(body: Callable[[], bytes]) -> bytes:
    """A body that cannot even be read is a hint without words."""
    try:
        return body()
    except SpeechError:
        return b""
