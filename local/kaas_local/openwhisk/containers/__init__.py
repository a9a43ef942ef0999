"""The processes that run actions: what OpenWhisk has containers for."""

from kaas_local.openwhisk.containers.model import Answer, Call, Executable
from kaas_local.openwhisk.containers.pool import Containers, Settings

__all__ = ["Answer", "Call", "Containers", "Executable", "Settings"]
