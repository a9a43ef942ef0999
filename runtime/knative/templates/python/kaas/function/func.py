"""A function that runs the kernel action in `kernel/` on the shared GPU pool: JSON in, JSON out."""

import asyncio
import json
import logging

from function.pool import Pool, PoolError

MOST_BYTES = 1 << 20

EXAMPLE = {"x": [1, 2, 3], "factor": 2}


def new():
    """Called once, at the start."""
    return Function()


class Function:
    def __init__(self):
        self._pool = Pool()

    async def handle(self, scope, receive, send):
        """Answer one request; whatever goes wrong is answered, too, or the client would get an empty 500."""
        try:
            status, body = 200, await self._answer(scope, receive)
        except PoolError as error:
            status, body = error.status, {"error": error.error}
        except Exception as error:
            logging.exception("unexpected")
            status, body = 500, {"error": {"code": "internal", "message": f"{type(error).__name__}: {error}"}}
        if status != 200:
            logging.error("%d: %s", status, body["error"])
        headers = [(b"content-type", b"application/json")]
        if status == 429:
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    async def _answer(self, scope, receive):
        arguments = arguments_in(await read(receive))
        if "x" not in arguments:
            return await self._example(arguments)
        # Without a place for it the output comes back in the answer; s3://bucket/key stores it.
        arguments.setdefault("y", "inline")
        return await asyncio.to_thread(self._pool.invoke, arguments)

    async def _example(self, arguments):
        """A call without the input, such as the first `func invoke`, is told how to make one."""
        told = {"hint": f"x is missing; send for example {json.dumps(EXAMPLE)}", "got": sorted(arguments)}
        try:
            told["example"] = await asyncio.to_thread(self._pool.invoke, {**EXAMPLE, "y": "inline"})
        except PoolError as error:
            told["error"] = error.error
        return told


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
