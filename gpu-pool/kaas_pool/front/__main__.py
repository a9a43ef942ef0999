"""`python -m kaas_pool.front`: started by the supervisor, with the control link as an inherited descriptor."""

from __future__ import annotations

import sys

from kaas_pool.front.config import parse_arguments
from kaas_pool.front.server import run

if __name__ == "__main__":
    sys.exit(run(parse_arguments(sys.argv[1:])))
