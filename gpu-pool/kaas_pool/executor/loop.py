"""The executor's one thread: links to the supervisor and the front, and the device, without ever blocking on one."""

from __future__ import annotations

import logging
import os
import select
import time
from collections import deque
from typing import Any

from kaas_pool.executor.worker import ContextLost, Worker
from kaas_pool.frames import Frame, Link, LinkClosed

_log = logging.getLogger(__name__)

#: After progress the device is looked at without pause for so long (seconds), because most work is short ...
SPIN_SECONDS = 100e-6
#: ... then with pauses that grow from the first to the second value, so that a long kernel costs next to no processor.
SHORTEST_PAUSE = 50e-6
LONGEST_PAUSE = 1e-3

#: Frames read from one link before the others get their turn.
_FRAMES_IN_A_ROW = 16
#: How long a dying process waits for the front to take its last frames, in seconds.
_FAREWELL_SECONDS = 1.0


class FrontLink:
    """The link to the front: a queue for what its socket cannot take at the moment."""

    def __init__(self) -> None:
        self._link: Link | None = None
        self._queue: deque[Frame] = deque()

    @property
    def link(self) -> Link | None:
        """The present link, if there is one."""
        return self._link

    @property
    def blocked(self) -> bool:
        """Whether frames wait for the socket."""
        return bool(self._queue)

    def use(self, link: Link | None) -> None:
        """Replace the link; what was queued for the old one is dropped."""
        self._queue.clear()
        if self._link is not None:
            self._link.close()
        self._link = link
        if link is not None:
            link.sock.setblocking(False)

    def send(self, frame: Frame) -> None:
        """Send or queue a frame; dropped without a link. A front that is gone is seen when reading."""
        if self._link is None:
            return
        self._queue.append(frame)
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes."""
        while self._queue and self._link is not None:
            try:
                self._link.send(self._queue[0])
            except BlockingIOError:
                return
            except LinkClosed:
                self._queue.clear()
                return
            self._queue.popleft()

    def farewell(self) -> None:
        """Send all that is queued, waiting a moment for a busy front."""
        deadline = time.monotonic() + _FAREWELL_SECONDS
        while self._queue and self._link is not None and (left := deadline - time.monotonic()) > 0:
            select.select([], [self._link], [], left)
            self.flush()


class Loop:
    """Runs a worker until the supervisor's link closes or the context is lost."""

    def __init__(self, control: Link, worker: Worker, front: FrontLink, hello: Frame) -> None:
        self._control = control
        self._worker = worker
        self._front = front
        self._hello = hello
        control.sock.setblocking(False)
        self._poll = select.epoll()
        self._poll.register(control, select.EPOLLIN)
        #: What is waited for at the front's link.
        self._watched = select.EPOLLIN
        self._progress_at = 0.0
        self._pause = SHORTEST_PAUSE

    def run(self) -> None:
        """Returns when the supervisor is gone; raises ContextLost after the front has been told."""
        try:
            while self._round():
                pass
        except ContextLost:
            self._front.farewell()
            raise
        finally:
            self._poll.close()

    def _round(self) -> bool:
        events = self._wait()
        for descriptor, _ in events:
            if descriptor == self._control.fileno():
                if not self._read_control():
                    return False
            else:
                self._front.flush()
                self._read_front()
        if (self._worker.in_flight and self._worker.poll()) or events:
            # Counted from the end of the work: handling a frame takes about as long as the spinning after it.
            self._progress_at = time.monotonic()
            self._pause = SHORTEST_PAUSE
        self._watch()
        return True

    def _wait(self) -> list[tuple[int, int]]:
        if not self._worker.in_flight:
            return self._poll.poll()
        if time.monotonic() - self._progress_at > SPIN_SECONDS:
            # epoll itself counts in milliseconds.
            select.select([self._poll], [], [], self._pause)
            self._pause = min(self._pause * 1.5, LONGEST_PAUSE)
        return self._poll.poll(0)

    def _watch(self) -> None:
        """Ask to be woken when the front's socket takes more, as long as something waits for that."""
        link, wanted = self._front.link, select.EPOLLIN | (select.EPOLLOUT if self._front.blocked else 0)
        if link is not None and wanted != self._watched:
            self._poll.modify(link, wanted)
            self._watched = wanted

    def _read_control(self) -> bool:
        try:
            frame, descriptors = self._control.receive()
        except BlockingIOError:
            return True
        except LinkClosed:
            return False
        if frame["type"] != "attach" or len(descriptors) != 1:
            for descriptor in descriptors:
                os.close(descriptor)
            return False
        self._attach(frame["epoch"], Link.from_descriptor(descriptors[0]))
        return True

    def _attach(self, epoch: Any, link: Link) -> None:
        self._detach()
        resident = self._worker.attach()
        self._front.use(link)
        self._poll.register(link, select.EPOLLIN)
        self._watched = select.EPOLLIN
        self._front.send({"type": "hello", "epoch": epoch, **self._hello, "resident": resident})

    def _detach(self) -> None:
        """Without a front what is in flight goes on; the next `attach` forgets it."""
        if self._front.link is not None:
            self._poll.unregister(self._front.link)
            self._front.use(None)

    def _read_front(self) -> None:
        for _ in range(_FRAMES_IN_A_ROW):
            link = self._front.link
            if link is None:
                return
            try:
                frame, descriptors = link.receive()
            except BlockingIOError:
                return
            except LinkClosed:
                self._detach()
                return
            try:
                self._worker.handle(frame, descriptors)
            except (KeyError, TypeError, ValueError, IndexError) as error:
                # No frame of this contract: the connection is closed, and the front ends this process.
                _log.exception("a %s frame that is none of this contract: %s", frame["type"], error)
                self._detach()
                return
