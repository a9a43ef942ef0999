"""A function that runs the kernel action in `kernel/` on the shared GPU pool: a CloudEvent in, a CloudEvent out."""

import json
import logging

from cloudevents.core.v1.event import CloudEvent

from function.pool import FIRST, Pool, PoolError

#: A call, by the names of `kernel/kaas.yaml`. An output that is "inline" here comes back in the answer of each call
#: that does not say where it goes; "s3://bucket/key" would store it.
EXAMPLE = {"x": [1, 2, 3], "factor": 2, "y": "inline"}


def new():
    """Called once, at the start."""
    return Function()


class Function:
    def __init__(self):
        self._pool = Pool(EXAMPLE)
        self._source = f"/kaas/{self._pool.name}"

    async def handle(self, scope, receive, send):
        """Answer one event; the middleware has read it, and writes what is sent."""
        event = scope["event"]
        # Delivered again, the event is not run again, and is answered with the same event.
        identifier = self._pool.event_id(event.get_source(), event.get_id())
        status = 200
        try:
            kind, data = await self._answer(event, identifier)
        except Exception as error:
            refused = refusal(error)
            kind, status, data = "dev.kaas.error", refused.status, {"error": refused.error}
            logging.error("%d: %s", status, refused.error)
        attributes = {
            "id": identifier if status == 200 else f"{identifier}-error",
            # Never the type that came in, or a Trigger would get its own answer back.
            "type": f"{event.get_type()}.result" if event.get_type().startswith(kind) else kind,
            "source": self._source,
            "subject": event.get_subject() or self._pool.name,
            "datacontenttype": "application/json",
        }
        for name in ("traceparent", "tracestate"):
            if event.get_extension(name):
                attributes[name] = event.get_extension(name)
        await send(CloudEvent(attributes, data), status)

    async def _answer(self, event, identifier):
        if event.get_source() == self._source and event.get_type().startswith("dev.kaas."):
            message = "the event is an answer of this function, and its answer would come in again, without end"
            hint = "filter its Trigger by the type of the events that it is for"
            raise PoolError({"code": "argument_invalid", "message": message, "hint": hint, "where": "source"})
        arguments = arguments_in(event.get_data())
        # `func invoke` alone is told how to make a call: to a Broker, what is answered with 200 went well.
        if event.get_type() == "boson.fn" and arguments == FIRST:
            return "dev.kaas.hint", await self._pool.welcome()
        return "dev.kaas.result", await self._pool.invoke(arguments, identifier)


def refusal(error):
    """An exception as a PoolError; what is none is a defect, and its traceback goes to the log."""
    if isinstance(error, PoolError):
        return error
    logging.error("unexpected", exc_info=error)
    return PoolError({"code": "internal", "message": f"{type(error).__name__}: {error}"})


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
