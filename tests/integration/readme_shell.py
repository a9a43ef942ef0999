"""Runs command lines of READMEs from the standard input in one process: `python readme_shell.py`.

A process for each command would spend most of its time on imports. It knows `kaas` and `python`, quotes, comments,
`&&` and `<`, and ends at the first command that fails, with its status.
"""

from __future__ import annotations

import os
import runpy
import shlex
import sys
from pathlib import Path

from kaas_cli.main import main


def commands(line: str) -> list[list[str]]:
    """The words of each command of a line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&<")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if word == "&&":
            found.append([])
        else:
            found[-1].append(word)
    return [words for words in found if words]


def run(words: list[str]) -> int:
    """Run one command; returns its status."""
    if "<" in words:
        at = words.index("<")
        os.dup2(os.open(words[at + 1], os.O_RDONLY), 0)
        words = words[:at]
    if words[0] == "python":
        sys.argv = words[1:]
        runpy.run_path(words[1], run_name="__main__")
        return 0
    assert words[0] == "kaas", f"this is no shell that knows {words[0]}"
    return main(words[1:])


if __name__ == "__main__":
    for command in [words for line in Path("/dev/stdin").read_text().splitlines() for words in commands(line)]:
        print("$", shlex.join(command), file=sys.stderr, flush=True)
        status = run(command)
        if status:
            sys.exit(status)
