"""`python -m kaas_pool.compiler`: started for one compile, by the supervisor or by `compile_bundle`."""

from __future__ import annotations

import sys

from kaas_pool.compiler.child import main

if __name__ == "__main__":
    sys.exit(main())
