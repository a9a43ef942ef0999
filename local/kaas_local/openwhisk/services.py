"""What the routes share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kaas_local.openwhisk.entities import Stamp
from kaas_local.openwhisk.identity import Keys
from kaas_local.openwhisk.invoker import Invoker
from kaas_local.openwhisk.kinds import Kinds
from kaas_local.openwhisk.store import Store, StoreThread


@dataclass(frozen=True)
class Services:
    """The parts of one server."""

    store: Store
    in_store: StoreThread
    keys: Keys
    kinds: Kinds
    invoker: Invoker
    stamp: Callable[[], Stamp]
