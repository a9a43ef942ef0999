"""Write the error table of docs/contracts.md from runtime/kaas/error_table.json: `python scripts/error_table.py`."""

from __future__ import annotations

from pathlib import Path

from kaas.errors import ERRORS

CONTRACTS = Path(__file__).parents[1] / "docs" / "contracts.md"

_BEGIN, _END = "<!-- error table -->\n", "<!-- /error table -->"


def table() -> str:
    """The table in Markdown."""
    lines = ["| code | blame | pool | init | run | Knative | who retries | when |", "|---|---|---|---|---|---|---|---|"]
    for code, row in ERRORS.items():
        statuses = ["-" if status is None else str(status) for status in (row.pool, row.init, row.run, row.knative)]
        lines.append(f"| {' | '.join([f'`{code}`', row.blame, *statuses, row.retry, row.meaning])} |")
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    """`text` with what stands between its markers replaced by the table."""
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"no pair of markers {_BEGIN.strip()} and {_END}")
    return before + begin + table() + end + after


if __name__ == "__main__":
    CONTRACTS.write_text(with_table(CONTRACTS.read_text("utf-8")), "utf-8")
