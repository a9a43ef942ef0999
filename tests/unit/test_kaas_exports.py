"""The package's public names are the ones it says, and each comes from where it says."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kaas


def test_all_is_exact() -> None:
    assert kaas.__all__ == sorted(kaas._HOME, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert dir(kaas) == sorted(kaas.__all__)
    for name in kaas.__all__:
        value = getattr(kaas, name)
        assert getattr(sys.modules[kaas._HOME[name]], name) is value


def test_unknown_names_are_no_attributes() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = kaas.nothing


def test_importing_the_package_imports_no_module_of_it() -> None:
    program = "import sys, kaas; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in loaded if name.startswith("kaas.")] == []
