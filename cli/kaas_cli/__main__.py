"""`python -m kaas_cli`, the same as `kaas`."""

from __future__ import annotations

import sys

from kaas_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
