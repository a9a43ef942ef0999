"""uvicorn's HTTP/1.1 protocol with bounds on what comes before a request's body, and on how long a request may take."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from kaas.errors import CallerError

#: Request line and headers, in bytes: h11's limit, which httptools lacks.
MAX_HEAD_BYTES = 64 << 10

#: A request may be silent for so long before it is whole, in seconds, and take so many times as long in all: who sends
#: a byte now and then would hold a connection for ever.
SILENT_SECONDS = 20.0
_WHOLE = 15


class BoundedHttpProtocol(HttpToolsProtocol):
    """Answers 400 to a longer head or a slower request and closes the connection."""

    silent_seconds = SILENT_SECONDS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._in_head = self._is_first = True
        self._head_bytes = 0
        self._is_whole = True
        #: Nothing more is read: what came is no HTTP, and earlier requests are still being answered.
        self._is_deaf = False
        #: The request whose handler is at work, or the last that had one.
        self._answering: RequestResponseCycle | None = None
        #: While a request is not whole: the time of its first bytes, of its latest, and the next look at the clock.
        self._began = self._heard = 0.0
        self._alarm: asyncio.TimerHandle | None = None

    @classmethod
    def patient(cls, silent_seconds: float) -> type[BoundedHttpProtocol]:
        """The same with another bound on silence."""
        return type(cls.__name__, (cls,), {"silent_seconds": silent_seconds})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client came."""
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """It left."""
        self._rest()
        self._part()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A request starts."""
        self._in_head, self._head_bytes, self._is_whole = True, 0, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._in_head = self._is_first = False
        super().on_headers_complete()
        if self.parser.should_upgrade():
            # What follows is not read as HTTP any more, so a next request would wait for its answer in vain.
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """Its body is whole."""
        self._is_whole = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP. Earlier requests are answered first; the answer to the last of them closes."""
        is_behind = not self._is_first and (self._in_head or self._is_whole)
        if is_behind and not self.cycle.response_complete:
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            self._is_deaf = True
        elif not self.transport.is_closing():
            super().send_400_response(msg)
            self._part()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._is_deaf:
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self._is_whole or self._is_deaf:
            if self._alarm is not None:
                self._rest()
        elif self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response("The request's head is over its limit.")
        else:
            self._watch()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _part(self) -> None:
        """Tell the handler at work that nobody hears it; uvicorn tells the latest request's, which may still wait."""
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def _watch(self) -> None:
        self._heard = self.loop.time()
        if self._alarm is None and not self.transport.is_closing():
            self._began = self._heard
            self._alarm = self.loop.call_later(self.silent_seconds, self._look)

    def _rest(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _look(self) -> None:
        now = self.loop.time()
        due = min(self._heard + self.silent_seconds, self._began + _WHOLE * self.silent_seconds)
        if now < due:
            self._alarm = self.loop.call_later(due - now, self._look)
            return
        self._alarm = None
        if self.transport.is_closing():
            return
        # Once to each request; not into the answer of an earlier one, nor to who has said nothing.
        if self._is_first or self.cycle.response_complete:
            answers = self._in_head and not self._is_whole
        else:
            answers = not (self._in_head or self.pipeline or self.cycle.response_started)
        if answers:
            self.transport.write(_TOO_SLOW)
        self.transport.close()
        self._part()


def _answer(error: CallerError) -> bytes:
    body = json.dumps({"error": error.to_json()}).encode()
    head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


_TOO_SLOW = _answer(
    CallerError(
        "request_invalid",
        "the request did not become whole in time",
        hint="send it at once; a body has as many bytes as its Content-Length says",
    )
)
