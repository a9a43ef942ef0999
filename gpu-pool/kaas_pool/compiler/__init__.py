"""Compiling CUDA sources in confined children: `compile_bundle` for programs, `client.CompilerClient` for asyncio.

The names are loaded when they are used: a child imports little, because every compile starts one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kaas_pool.compiler.local import compile_bundle
    from kaas_pool.compiler.messages import CompiledSource, Target, Unit

__all__ = ["CompiledSource", "Target", "Unit", "compile_bundle"]


def __getattr__(name: str) -> Any:
    if name == "compile_bundle":
        from kaas_pool.compiler.local import compile_bundle

        return compile_bundle
    if name in __all__:
        from kaas_pool.compiler import messages

        return getattr(messages, name)
    raise AttributeError(name)
