"""The walls around executors and compilers: Landlock, a system-call filter, limits, no network, no capabilities.

SECURITY.md says what they are for. `confine_*` is called by the child itself, before it sees anything of a tenant's.
"""

from kaas_pool.sandbox.confine import Walls, confine_compiler, confine_executor, describe
from kaas_pool.sandbox.policy import DeviceKind

__all__ = ["DeviceKind", "Walls", "confine_compiler", "confine_executor", "describe"]
