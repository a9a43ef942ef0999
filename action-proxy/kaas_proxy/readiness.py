"""Whether a Service can serve: its action is there, and the pool answers. Probes read it and never wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from kaas.errors import KaasError
from kaas_proxy.exchange import as_kaas

#: Between attempts while something is missing, in seconds: first, and at most.
_FIRST_PAUSE = 0.1
_LAST_PAUSE = 5.0

#: ... and at most while it is the bundle that is wrong: each attempt has the pool compile it.
_LAST_PAUSE_OF_AUTHORS = 60.0

#: How long a good look is believed. Nobody looks while nobody asks: an idle instance uses no processor.
_FRESH_SECONDS = 1.0


class Readiness:
    """The last look, made by a thread of its own.

    `look` does whatever has to be done to be ready, and raises KaasError while it cannot; `tell` gets each new problem,
    and None when there is none any more.
    """

    def __init__(self, look: Callable[[], None], tell: Callable[[KaasError | None], None]) -> None:
        self._look = look
        self._tell = tell
        self._asked = threading.Event()
        self._looked = 0.0
        #: What is wrong; None if nothing is.
        self._problem: KaasError | None = None
        self._is_ready = False
        threading.Thread(target=self._keep_looking, name="readiness", daemon=True).start()

    @property
    def problem(self) -> KaasError | None:
        """What the last look found wrong."""
        return self._problem

    def ask(self) -> bool:
        """Whether the last look was good; has another one made if it is old."""
        if self._is_ready and time.monotonic() - self._looked >= _FRESH_SECONDS:
            self._asked.set()
        return self._is_ready

    def _keep_looking(self) -> None:
        pause = _FIRST_PAUSE
        is_first = True
        while True:
            problem: KaasError | None = None
            try:
                self._look()
            except Exception as error:
                problem = as_kaas(error)
            self._looked = time.monotonic()
            is_new = str(problem) != str(self._problem) or is_first
            self._problem, self._is_ready, is_first = problem, problem is None, False
            if is_new:
                with suppress(OSError):  # Whoever reads the log may be gone; who asks whether it is ready is not.
                    self._tell(problem)
            if problem is None:
                pause = _FIRST_PAUSE
                self._asked.wait()
                self._asked.clear()
            else:
                time.sleep(pause)  # The back-off itself: what is missing cannot tell when it is there.
                longest = _LAST_PAUSE_OF_AUTHORS if problem.row.blame == "author" else _LAST_PAUSE
                pause = min(2 * pause, longest)
