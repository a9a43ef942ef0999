"""What a kernel action is: manifest, expressions, bundle, binding, formats, messages, errors, and the pool's client.

Names are imported when they are first used, so that a process that needs one module does not pay for the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kaas.binding import (
        Binding,
        BoundBuffer,
        BundleFile,
        InlineSource,
        InlineTarget,
        ObjectInfo,
        ObjectSource,
        ObjectTarget,
        bind,
    )
    from kaas.bundle import Bundle
    from kaas.call import Call, InlineOutput
    from kaas.client import PoolClient
    from kaas.dtypes import DTYPES, DType, TypedScalar
    from kaas.errors import AuthorError, CallerError, KaasError, PlatformError
    from kaas.expressions import Expression
    from kaas.freshness import Freshness
    from kaas.graph import (
        BufferArg,
        CopyStep,
        FillStep,
        KernelStep,
        NullArg,
        ParamArg,
        RepeatStep,
        Source,
        Step,
        Until,
        ValueArg,
    )
    from kaas.manifest import Buffer, Manifest, Param
    from kaas.messages import Invocation, InvocationRequest, LogLine
    from kaas.references import InlineValue, Reference

_MODULES = {
    "kaas.binding": (
        "Binding",
        "BoundBuffer",
        "BundleFile",
        "InlineSource",
        "InlineTarget",
        "ObjectInfo",
        "ObjectSource",
        "ObjectTarget",
        "bind",
    ),
    "kaas.bundle": ("Bundle",),
    "kaas.call": ("Call", "InlineOutput"),
    "kaas.client": ("PoolClient",),
    "kaas.dtypes": ("DTYPES", "DType", "TypedScalar"),
    "kaas.errors": ("AuthorError", "CallerError", "KaasError", "PlatformError"),
    "kaas.expressions": ("Expression",),
    "kaas.freshness": ("Freshness",),
    "kaas.graph": (
        "BufferArg",
        "CopyStep",
        "FillStep",
        "KernelStep",
        "NullArg",
        "ParamArg",
        "RepeatStep",
        "Source",
        "Step",
        "Until",
        "ValueArg",
    ),
    "kaas.manifest": ("Buffer", "Manifest", "Param"),
    "kaas.messages": ("Invocation", "InvocationRequest", "LogLine"),
    "kaas.references": ("InlineValue", "Reference"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "DTYPES",
    "AuthorError",
    "Binding",
    "BoundBuffer",
    "Buffer",
    "BufferArg",
    "Bundle",
    "BundleFile",
    "Call",
    "CallerError",
    "CopyStep",
    "DType",
    "Expression",
    "FillStep",
    "Freshness",
    "InlineOutput",
    "InlineSource",
    "InlineTarget",
    "InlineValue",
    "Invocation",
    "InvocationRequest",
    "KaasError",
    "KernelStep",
    "LogLine",
    "Manifest",
    "NullArg",
    "ObjectInfo",
    "ObjectSource",
    "ObjectTarget",
    "Param",
    "ParamArg",
    "PlatformError",
    "PoolClient",
    "Reference",
    "RepeatStep",
    "Source",
    "Step",
    "TypedScalar",
    "Until",
    "ValueArg",
    "bind",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'kaas' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__]
