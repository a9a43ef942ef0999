"""What a namespace may read and invoke of another's: the packages that are published, and the actions in them."""

from __future__ import annotations

from kaas_local.openwhisk.names import Name
from kaas_local.openwhisk.refusal import Refusal, forbidden
from kaas_local.openwhisk.store import Store


def check_action(store: Store, name: Name, sender: str) -> None:
    """Raises Refusal for an action that is neither the sender's own nor in a published package, there or not."""
    _check(store, name, name.parent, sender)


def check_package(store: Store, name: Name, sender: str) -> None:
    """Raises Refusal for a package that is neither the sender's own nor published, there or not."""
    _check(store, name, name, sender)


def _check(store: Store, name: Name, package: Name | None, sender: str) -> None:
    if name.namespace == sender:
        return
    try:
        found = store.find_package(package) if package is not None else None
    except Refusal:  # It is an action; which names others have is not told.
        found = None
    if found is None or not found.publish:
        raise forbidden(str(name))
