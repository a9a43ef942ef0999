"""What the API answers in place of a result: a status, and OpenWhisk's own words for it, which clients compare."""

from __future__ import annotations

NOT_FOUND = "The requested resource does not exist."
EXISTS = "resource already exists"
OTHER_COLLECTION = "Resource by this name exists but is not in this collection."
NO_CREDENTIALS = "The resource requires authentication, which was not supplied with the request"
WRONG_CREDENTIALS = "The supplied authentication is invalid"
DEFECT = "There was an internal server error."


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def malformed(reason: str) -> Refusal:
    """A body that is not what the route takes."""
    return Refusal(400, f"The request content was malformed:\n{reason}")


def too_large(what: str, size: int, limit: int) -> Refusal:
    """More bytes than a limit allows."""
    return Refusal(413, f"{what} larger than allowed: {size} > {limit} bytes.")


def not_found() -> Refusal:
    """No entity or activation of that name."""
    return Refusal(404, NOT_FOUND)


def forbidden(resource: str) -> Refusal:
    """Another namespace's."""
    return Refusal(403, f"The supplied authentication is not authorized to access '{resource}'.")


def left_out(what: str) -> Refusal:
    """What OpenWhisk has and this API does not."""
    return Refusal(501, f"{what} not part of KaaS's local OpenWhisk API; an OpenWhisk deployment has them.")
