"""A vendor's WebSocket: the protocol is the library's, the connection and its deadline are those of all our calls."""

import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpcore

from speech.egress import Target
from speech.errors import VendorAmbiguous, VendorError, VendorMisbehaved, VendorUnavailable
from speech.vendors.base import Reply, SocketClosed

if TYPE_CHECKING:
    from websockets.client import ClientProtocol

KEEP_SECONDS = 4.0
"""How long a socket may lie idle: servers hang up on it, and it may occupy a place at the vendor."""

_NO_LOG = logging.Logger("websocket", logging.CRITICAL)
"""The library would log headers, which hold keys, and messages, which hold the text."""

_FAULTS = (httpcore.TimeoutException, httpcore.NetworkError)


def most(max_audio: int) -> int:
    """How many bytes an answer may have: base 64 takes a third more than the audio, and its wrapping a little."""
    return max_audio * 7 // 5


class Socket:
    """One connection after its upgrade: implements `Conversation` of speech.vendors.base."""

    def __init__(
        self, stream: httpcore.NetworkStream, protocol: "ClientProtocol", *, vendor: str, max_audio: int
    ) -> None:
        self.handshake = Reply(0, {}, b"")
        self.continued = False
        self._stream = stream
        self._protocol = protocol
        self._vendor = vendor
        self._most = most(max_audio)
        self._heard = 0
        self._said = False
        self._messages: deque[bytes] = deque()
        self._fragments: list[bytes] = []

    def open(self, headers: Mapping[str, str]) -> None:
        """Ask for the upgrade; `handshake` is the answer."""
        from websockets.exceptions import InvalidStatus

        request = self._protocol.connect()
        request.headers.update(headers)
        self._protocol.send_request(request)
        self._flush()
        while not self.handshake.status and self._protocol.handshake_exc is None:
            self._read()
        refused = self._protocol.handshake_exc
        if refused is not None and not isinstance(refused, InvalidStatus):
            raise VendorUnavailable("The vendor's answer to a WebSocket is none.", vendor=self._vendor) from refused

    def begin_again(self) -> bool:
        """Whether another exchange can be held here: nothing was left over, and nothing came since.

        What comes between two exchanges is mostly the vendor's good-bye. It is not read: over TLS there may
        be something to read that is no message, and reading would wait for one.
        """
        self.continued, self._said, self._heard = True, False, 0
        left_over = self._messages or self._fragments or self._stream.get_extra_info("is_readable")
        return self.is_open() and not left_over

    def say(self, message: Mapping[str, Any]) -> None:
        """Send one message as JSON. What goes wrong with it is told by what is heard next."""
        if not self.is_open():
            return
        text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        self._protocol.send_text(text.encode())
        self._said = True
        with suppress(VendorError):
            self._flush()

    def hear(self) -> bytes:
        """The next message, whole. Raises SocketClosed."""
        while not self._messages:
            if not self.is_open():
                raise self._end()
            self._read()
        message = self._messages.popleft()
        self._heard += len(message)
        if self._heard > self._most:
            raise VendorMisbehaved("The vendor's answer is larger than any answer may be.", vendor=self._vendor)
        return message

    def close(self) -> None:
        """Say so if that can be done at once, and hang up."""
        with suppress(VendorError):
            if self.is_open():
                self._protocol.send_close()
                self._flush()
        self._stream.close()

    def is_open(self) -> bool:
        """Whether anything may still be said, as far as was heard."""
        from websockets.protocol import OPEN

        return self._protocol.state is OPEN

    def _flush(self) -> None:
        try:
            for data in self._protocol.data_to_send():
                if data:  # nothing stands for the end of what we send; closing says the same
                    self._stream.write(data)
        except _FAULTS as error:
            raise self._lost() from error

    def _read(self) -> None:
        """Take in what arrives next, answer pings, and keep whole messages."""
        try:
            data = self._stream.read(65536)
        except _FAULTS as error:
            raise self._lost() from error
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            self._take(event)
        with suppress(VendorError):  # what it said counts, even if it no longer listens
            self._flush()

    def _take(self, event: Any) -> None:
        from websockets.frames import Opcode
        from websockets.http11 import Response

        if isinstance(event, Response):
            headers = {name.lower(): value for name, value in event.headers.raw_items()}
            self.handshake = Reply(event.status_code, headers, bytes(event.body))
        elif event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._fragments.append(bytes(event.data))
            if event.fin:
                self._messages.append(b"".join(self._fragments))
                self._fragments.clear()

    def _end(self) -> Exception:
        """Why there is nothing more to hear."""
        closed, broken = self._protocol.close_rcvd, self._protocol.parser_exc
        if closed is not None:
            return SocketClosed(closed.code, closed.reason)
        if broken is not None and not isinstance(broken, EOFError):
            return VendorMisbehaved("The vendor's WebSocket broke its own rules.", vendor=self._vendor)
        return self._lost()

    def _lost(self) -> VendorError:
        if self._said:
            return VendorAmbiguous("The vendor did not give a whole answer in time.", vendor=self._vendor)
        return VendorUnavailable("The vendor could not be reached.", vendor=self._vendor)


class Sockets:
    """Opens sockets and keeps the last one for a moment. For one thread at a time."""

    def __init__(self, connect: Callable[[Target], httpcore.NetworkStream], *, vendor: str, max_audio: int) -> None:
        self._connect = connect
        self._vendor = vendor
        self._max_audio = max_audio
        self._kept: tuple[object, Socket, float] | None = None

    @contextmanager
    def exchange(self, target: Target, headers: Mapping[str, str], keep: str) -> Iterator[Socket]:
        """The kept socket if it was opened for the very same, or a new one; kept if it is still open afterwards."""
        same = (target, tuple(sorted(headers.items())), keep)
        socket = self._taken(same) or self._opened(target, headers)
        well = False
        try:
            yield socket
            well = socket.is_open()
        finally:
            if well:
                self._kept = (same, socket, time.time())
            else:
                socket.close()

    def close(self) -> None:
        """Hang up."""
        if self._kept is not None:
            self._kept[1].close()
            self._kept = None

    def _taken(self, same: object) -> Socket | None:
        if self._kept is None:
            return None
        key, kept, used_at = self._kept
        # The wall clock, because a frozen environment's monotonic clock does not notice that it was.
        if key == same and abs(time.time() - used_at) <= KEEP_SECONDS and kept.begin_again():
            self._kept = None
            return kept
        self.close()
        return None

    def _opened(self, target: Target, headers: Mapping[str, str]) -> Socket:
        from websockets.client import ClientProtocol
        from websockets.uri import parse_uri

        scheme = "wss" if target.scheme == "https" else "ws"
        host = f"[{target.host}]" if ":" in target.host else target.host
        protocol = ClientProtocol(
            parse_uri(f"{scheme}://{host}:{target.port}{target.path}"), max_size=most(self._max_audio), logger=_NO_LOG
        )
        socket = Socket(self._connect(target), protocol, vendor=self._vendor, max_audio=self._max_audio)
        with ExitStack() as undo:
            undo.callback(socket.close)
            socket.open(headers)
            undo.pop_all()
        return socket
