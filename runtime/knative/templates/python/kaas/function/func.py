"""A function that runs the kernel action in `kernel/` on the shared GPU pool: JSON in, JSON out."""

import json
import logging

from function.pool import FIRST, Pool, PoolError

#: A call, by the names of `kernel/kaas.yaml`. An output that is "inline" here comes back in the answer of each call
#: that does not say where it goes; "s3://bucket/key" would store it.
EXAMPLE = {"x": [1, 2, 3], "factor": 2, "y": "inline"}

MOST_BYTES = 1 << 20


def new():
    """Called once, at the start."""
    return Function()


class Function:
    def __init__(self):
        self._pool = Pool(EXAMPLE)

    async def handle(self, scope, receive, send):
        """Answer one request; whatever goes wrong is answered, too, or the client would get an empty 500."""
        try:
            status, body = 200, await self._answer(receive)
        except Exception as error:
            refused = refusal(error)
            status, body = refused.status, {"error": refused.error}
            logging.error("%d: %s", status, refused.error)
        headers = [(b"content-type", b"application/json")]
        if status == 429:
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    async def _answer(self, receive):
        arguments = arguments_in(await read(receive))
        if arguments == FIRST:
            return await self._pool.welcome()
        return await self._pool.invoke(arguments)


def refusal(error):
    """An exception as a PoolError; what is none is a defect, and its traceback goes to the log."""
    if isinstance(error, PoolError):
        return error
    logging.error("unexpected", exc_info=error)
    return PoolError({"code": "internal", "message": f"{type(error).__name__}: {error}"})


async def read(receive):
    """The body of a request. Raises PoolError if it is too large."""
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise PoolError({"code": "request_incomplete", "message": "the client left before its request was whole"})
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MOST_BYTES:
            raise PoolError({"code": "payload_too_large", "message": f"the body is over {MOST_BYTES} bytes"})
    return body


def arguments_in(body):
    """The arguments that a body has by name. Raises PoolError if it is no JSON object."""
    try:
        arguments = json.loads(body) if body else {}
    except (ValueError, RecursionError) as error:
        raise PoolError({"code": "request_invalid", "message": f"the body is not JSON: {error}"}) from None
    if not isinstance(arguments, dict):
        raise PoolError({"code": "request_invalid", "message": "the body is not a JSON object"})
    return arguments
