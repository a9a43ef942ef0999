"""Who runs next, and where: policies behind one interface, the same in production and in simulation.

Nothing here reads a clock, does I/O or knows CUDA. A policy is one file in this package with one class under
`@register("its-name")`; every module found here is imported, so adding the file is adding the policy.
"""

from __future__ import annotations

import importlib
import pkgutil

from kaas_pool.scheduler.policy import POLICIES, Decision, Job, Policy, register

__all__ = ["POLICIES", "Decision", "Job", "Policy", "register"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
