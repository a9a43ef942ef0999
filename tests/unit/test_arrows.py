"""Who may import whom (ARCHITECTURE.md): arrows point at `kaas`, and what decides does no I/O."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import tomli
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "kaas": "runtime",
    "kaas_pool": "gpu-pool",
    "kaas_emulator": "cuda-emulator",
    "kaas_proxy": "action-proxy",
    "kaas_local": "local",
    "kaas_cli": "cli",
}
ALLOWED = {
    "kaas": set[str](),
    "kaas_emulator": set[str](),
    "kaas_pool": {"kaas", "kaas_emulator"},
    "kaas_proxy": {"kaas"},
    "kaas_local": {"kaas"},
    "kaas_cli": set(FOLDERS) - {"kaas_cli"},
}
#: The extra that brings what a package imports; `kaas` itself has the core dependencies alone.
EXTRAS = {
    "kaas": "",
    "kaas_emulator": "",
    "kaas_pool": "pool",
    "kaas_proxy": "proxy",
    "kaas_local": "local",
    "kaas_cli": "cli",
}
#: Built by `make setup`, so no extra can name it; `gpu` is asked for where there is a device or a compiler.
ALSO = {"kaas_pool": {"pycuda", *("cuda-bindings", "nvidia-cuda-nvrtc-cu12", "nvidia-cuda-runtime-cu12")}}

#: What decides: given events and a time, it answers with commands. Everything about it can be replayed.
PURE = {"scheduler", "residency", "lifecycle", "plan", "findings"}
IMPURE = {
    *("socket", "ssl", "select", "selectors", "asyncio", "http", "urllib", "urllib3", "socketserver"),
    *(
        "os",
        "io",
        "pathlib",
        "shutil",
        "tempfile",
        "mmap",
        "fcntl",
        "ctypes",
        "signal",
        "subprocess",
        "multiprocessing",
    ),
    *("time", "datetime", "random", "secrets", "uuid", "threading", "queue", "concurrent", "logging"),
    *("pycuda", "cuda", "boto3", "botocore", "starlette", "uvicorn", "uvloop", "flask", "gunicorn", "ray"),
}
#: `kaas` reads its own data files and speaks HTTP in one place; CUDA and stores are others' business.
FOREIGN_TO_KAAS = {
    "pycuda",
    "cuda",
    "boto3",
    "botocore",
    "starlette",
    "uvicorn",
    "flask",
    "ray",
    "subprocess",
    "asyncio",
}
HTTP_CLIENT = {"kaas.client", "kaas.connections"}
NETWORK = {"socket", "ssl", "http", "urllib", "urllib3", "socketserver", "select", "selectors"}


@dataclass(frozen=True)
class Import:
    module: str
    names: tuple[str, ...]
    line: int
    #: False for what only a type checker reads.
    runs: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def modules() -> dict[str, Path]:
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder / package).rglob("*.py")):
            if "templates" in path.parts:
                continue  # What `kaas new` copies is no part of the package.
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(), str(path))
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    annotations = {inner for block in blocks for statement in block.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        runs = node not in annotations
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, (), node.lineno, runs) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module is not None, f"{path}:{node.lineno}: a relative import"
            yield Import(node.module, tuple(alias.name for alias in node.names), node.lineno, runs)


MODULES = modules()
IMPORTS = {name: list(imports(path)) for name, path in MODULES.items()}
OWNERS = packages_distributions()
PACKAGES = sorted({name.partition(".")[0] for name in MODULES})


def targets(one: Import) -> list[str]:
    """The modules of ours that an import names: `from a import b` names a.b where that is a module, else a."""
    inner = [f"{one.module}.{name}" for name in one.names]
    named = [name if name in MODULES else one.module for name in inner] or [one.module]
    return [name for name in named if name in MODULES]


def chains(start: str) -> dict[str, list[str]]:
    """Every module of ours that `start` names, directly or through others, with the way to it.

    That Python also runs the `__init__` of the packages around them is not the doing of `start`.
    """
    found = {start: [start]}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        for target in (target for one in IMPORTS[name] if one.runs for target in targets(one)):
            if target not in found:
                found[target] = [*found[name], target]
                waiting.append(target)
    return found


def test_every_package_is_known() -> None:
    assert PACKAGES, "no package found"
    strays = {
        path.parent.relative_to(ROOT)
        for folder in FOLDERS.values()
        for path in (ROOT / folder).glob("*/__init__.py")
        if path.parent.name not in FOLDERS
    }
    assert not strays


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_along_the_arrows(package: str) -> None:
    forbidden = set(FOLDERS) - ALLOWED[package] - {package}
    wrong = [
        f"{MODULES[name].relative_to(ROOT)}:{one.line} imports {one.module}"
        for name in MODULES
        if name.partition(".")[0] == package
        for one in IMPORTS[name]
        if one.top in forbidden
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", [name for name in MODULES if PURE & set(name.split("."))])
def test_what_decides_does_no_io_and_reads_no_clock(name: str) -> None:
    wrong = [
        f"{' -> '.join(way)} imports {one.module} (line {one.line})"
        for other, way in chains(name).items()
        for one in IMPORTS[other]
        if one.runs and one.top in IMPURE
    ]
    assert not wrong, "\n".join(wrong)


def test_kaas_does_no_io_but_the_client() -> None:
    wrong = [
        f"{MODULES[name].relative_to(ROOT)}:{one.line} imports {one.module}"
        for name in MODULES
        if name.partition(".")[0] == "kaas"
        for one in IMPORTS[name]
        if one.top in FOREIGN_TO_KAAS
        or (one.top in NETWORK and name not in HTTP_CLIENT and one.module != "urllib.parse")
    ]
    assert not wrong, "\n".join(wrong)


def declared() -> tuple[dict[str, list[str]], list[str]]:
    """pyproject.toml's extras and core dependencies."""
    project = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["optional-dependencies"], project["dependencies"]


def distributions(extra: str, extras: Mapping[str, list[str]], core: list[str]) -> set[str]:
    """The distributions an extra asks for, the core and the extras it names included."""
    wanted = core + (extras[extra] if extra else [])
    found = set()
    for requirement in map(Requirement, wanted):
        if requirement.name == "kaas":
            found |= set().union(*(distributions(one, extras, core) for one in requirement.extras))
        else:
            found.add(canonicalize_name(requirement.name))
    return found


def foreign(found: list[Import], brought: set[str], ours: set[str]) -> list[Import]:
    """The imports that neither these distributions, nor the standard library, nor we ourselves serve."""
    return [
        one
        for one in found
        if one.top not in ours | sys.stdlib_module_names
        and not brought & {canonicalize_name(owner) for owner in OWNERS.get(one.top, [one.top])}
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_nothing_that_its_extra_does_not_bring(package: str) -> None:
    brought = distributions(EXTRAS[package], *declared()) | ALSO.get(package, set())
    wrong = [
        f"{MODULES[name].relative_to(ROOT)}:{one.line} imports {one.module}"
        for name in MODULES
        if name.partition(".")[0] == package
        for one in foreign([one for one in IMPORTS[name] if one.runs], brought, set(FOLDERS))
    ]
    assert not wrong, "\n".join(wrong)


def test_the_tests_import_nothing_that_the_test_extra_does_not_bring() -> None:
    paths = sorted((ROOT / "tests").rglob("*.py"))
    ours = set(FOLDERS) | {path.stem for path in [*paths, *(ROOT / "scripts").glob("*.py")]}
    brought = distributions("test", *declared()) | {"pycuda"}
    wrong = [
        f"{path.relative_to(ROOT)}:{one.line} imports {one.module}"
        for path in paths
        for one in foreign([one for one in imports(path) if one.runs], brought, ours)
    ]
    assert not wrong, "\n".join(wrong)
