"""The templates of `kaas new`: a folder each, with a manifest, a source, a README and a test."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

DEFAULT = "elementwise"

#: In which order they are listed: from one kernel to several.
NAMES = ("elementwise", "reduction", "gemm", "stencil", "pipeline")

#: Template file -> file of the action; NAME and KERNEL are replaced in both.
_FILES = {
    "kaas.yaml": "kaas.yaml",
    "kernel.cu": "KERNEL.cu",
    "README.md": "README.md",
    "test_action.py": "test_KERNEL.py",
}

#: What cannot name a kernel though it could name an action: words of C++, and functions that every source has.
_TAKEN = re.compile(
    r"alignas|alignof|and|and_eq|asm|auto|bitand|bitor|bool|break|case|catch|char|char16_t|char32_t|class|compl|const"
    r"|const_cast|constexpr|continue|decltype|default|delete|do|double|dynamic_cast|else|enum|explicit|export|extern"
    r"|false|float|for|friend|goto|if|inline|int|long|mutable|namespace|new|noexcept|not|not_eq|nullptr|operator|or"
    r"|or_eq|private|protected|public|register|reinterpret_cast|return|short|signed|sizeof|static|static_assert"
    r"|static_cast|struct|switch|template|this|thread_local|throw|true|try|typedef|typeid|typename|union|unsigned|using"
    r"|virtual|void|volatile|wchar_t|while|xor|xor_eq|main|std|cuda|half|half2|dim3|[a-z]+[1-4]"
    r"|(?:abs|fabs|floor|ceil|round|trunc|rint|sqrt|cbrt|rsqrt|exp|exp2|exp10|expm1|log|log2|log10|log1p|pow|sin|cos|tan"
    r"|asin|acos|atan|atan2|sinh|cosh|tanh|asinh|acosh|atanh|sincos|hypot|norm|erf|erfc|lgamma|tgamma|gamma|fma|fmax"
    r"|fmin|fmod|fdim|ldexp|frexp|modf|remainder|copysign|nan|j0|j1|jn|y0|y1|yn)[fl]?"
    r"|max|min|malloc|free|memcpy|memset|printf|assert|clock|rand|time|labs|llabs|div|index|exit|abort|signal|read"
    r"|write|open|close|link|pipe|select|send|sleep|wait|kill|fork|remove|rename|truncate|swap"
)


@dataclass(frozen=True)
class Template:
    """One template; `description` is that of its manifest."""

    name: str
    description: str

    def files(self, name: str) -> dict[str, str]:
        """The files of an action called `name`: their names and texts."""
        kernel = kernel_name(name)
        return {
            target.replace("KERNEL", kernel): _read(self.name, template).replace("KERNEL", kernel).replace("NAME", name)
            for template, target in _FILES.items()
        }


def templates() -> dict[str, Template]:
    """All of them by name."""
    found = {}
    for name in NAMES:
        described = re.search(r"^description: (.*)$", _read(name, "kaas.yaml"), re.MULTILINE)
        assert described is not None
        found[name] = Template(name, described[1])
    return found


def kernel_name(name: str) -> str:
    """A name for the kernel, the source and the test of an action."""
    kernel = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"k_{kernel}" if kernel[0].isdigit() or _TAKEN.fullmatch(kernel) else kernel


def write(template: Template, folder: Path, name: str) -> list[Path]:
    """Make `folder` and write the files of an action called `name` into it; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for file, text in template.files(name).items():
        path = folder / file
        path.write_text(text, "utf-8")
        written.append(path)
    return written


def _read(template: str, file: str) -> str:
    return (files("kaas_cli") / "templates" / template / file).read_text("utf-8")
