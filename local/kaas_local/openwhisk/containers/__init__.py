"""The processes that run actions: what OpenWhisk has containers for."""

from kaas_local.openwhisk.containers.model import Answer, Call, Executable

__all__ = ["Answer", "Call", "Executable"]
