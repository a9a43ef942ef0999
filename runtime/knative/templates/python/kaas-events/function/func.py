"""A function that runs the kernel action in `kernel/` on the shared GPU pool: a CloudEvent in, a CloudEvent out."""

import asyncio
import json
import logging

from cloudevents.core.v1.event import CloudEvent

from function.pool import Pool, PoolError

EXAMPLE = {"x": [1, 2, 3], "factor": 2}

SOURCE = "/kaas/scale"


def new():
    """Called once, at the start."""
    return Function()


class Function:
    def __init__(self):
        self._pool = Pool()

    async def handle(self, scope, receive, send):
        """Answer one event; the middleware has read it, and writes what is sent."""
        event = scope["event"]
        # Delivered again, the event is not run again, and is answered with the same event.
        identifier = self._pool.event_id(event.get_source(), event.get_id())
        kind, status = "dev.kaas.result", 200
        try:
            data = await self._answer(event, identifier)
            if "hint" in data:
                kind = "dev.kaas.hint"
        except PoolError as error:
            kind, status, data = "dev.kaas.error", error.status, {"error": error.error}
        except Exception as error:
            logging.exception("unexpected")
            data = {"error": {"code": "internal", "message": f"{type(error).__name__}: {error}"}}
            kind, status = "dev.kaas.error", 500
        if status != 200:
            logging.error("%d: %s", status, data["error"])
        attributes = {
            "id": identifier,
            # Never the type that came in, or a Trigger would get its own answer back.
            "type": f"{event.get_type()}.result" if event.get_type().startswith(kind) else kind,
            "source": SOURCE,
            "subject": event.get_subject() or "scale",
            "datacontenttype": "application/json",
        }
        for name in ("traceparent", "tracestate"):
            if event.get_extension(name):
                attributes[name] = event.get_extension(name)
        await send(CloudEvent(attributes, data), status)

    async def _answer(self, event, identifier):
        if event.get_source() == SOURCE:
            # A Trigger without a filter brings the answers back, and theirs, without end.
            raise PoolError({"code": "argument_invalid", "message": "the event is an answer of this function's"})
        arguments = arguments_in(event.get_data())
        if "x" not in arguments:
            return await self._example(arguments)
        # Without a place for it the output comes back in the answer; s3://bucket/key stores it.
        arguments.setdefault("y", "inline")
        return await asyncio.to_thread(self._pool.invoke, arguments, identifier)

    async def _example(self, arguments):
        """An event without the input, such as the first `func invoke`, is told how to make one."""
        told = {"hint": f"x is missing; send for example {json.dumps(EXAMPLE)}", "got": sorted(arguments)}
        try:
            told["example"] = await asyncio.to_thread(self._pool.invoke, {**EXAMPLE, "y": "inline"})
        except PoolError as error:
            told["error"] = error.error
        return told


def arguments_in(data):
    """The arguments that an event's data have by name. Raises PoolError if they are no JSON object."""
    try:
        arguments = json.loads(data) if isinstance(data, (str, bytes)) and data else data
    except (ValueError, RecursionError) as error:
        raise PoolError({"code": "event_invalid", "message": f"the event's data are not JSON: {error}"}) from None
    if arguments in (None, "", b""):
        return {}
    if not isinstance(arguments, dict):
        raise PoolError({"code": "argument_invalid", "message": "the event's data are not a JSON object"})
    return dict(arguments)
