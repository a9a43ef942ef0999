"""What the compilers say of each source: their errors, and CUDA's warnings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from kaas.errors import KaasError
from kaas_pool.findings.finding import Finding, error, from_error, warning
from kaas_pool.findings.subject import Outcome, Subject

_MESSAGE = re.compile(
    r"(?P<where>[^\s:][^:\n]*:\d+(?::\d+)?): "
    r"(?:fatal |catastrophic )?(?P<kind>error|warning)(?: #(?P<number>[\w-]+))?: (?P<text>.*)"
)
_NOTE = re.compile(r"(?P<where>[^\s:][^:\n]*:\d+(?::\d+)?): note: (?P<text>.*)")

_REFUSED = "CUDA's own compiler refuses it"
_REFUSED_BY_ONE = {
    "emulated": "the emulated device's compiler (the host's C++) refuses it, so it cannot be tried on this machine, "
    "though CUDA's own takes it",
    "cuda": "CUDA's own compiler refuses it for {}, though the emulated device's takes it, so it would fail on a GPU",
}


def find(subject: Subject) -> Iterator[Finding]:
    """Every message about the author's files, once; where two compilers refuse one line, CUDA's words."""
    failed: dict[str, list[Outcome]] = {}
    for outcome in subject.outcomes:
        if isinstance(outcome.result, KaasError):
            failed.setdefault(outcome.unit.name, []).append(outcome)
        else:
            yield from _warnings(outcome.result.log)
    for outcomes in failed.values():
        # CUDA's first: its words are those that the author meets elsewhere.
        seen: set[str] = set()
        for outcome in sorted(outcomes, key=lambda one: one.compiler == "emulated"):
            assert isinstance(outcome.result, KaasError)
            found = list(_refusals(subject, outcome, outcome.result, len(outcomes) > 1))
            yield from (finding for finding in found if finding.place not in seen)
            seen.update(finding.place for finding in found)


def _refusals(subject: Subject, outcome: Outcome, failure: KaasError, is_shared: bool) -> Iterator[Finding]:
    if failure.code == "kernel_not_found":
        place = subject.manifest.place_of(outcome.unit.source, outcome.unit.kernels[0])
        yield from_error(failure, place)
        return
    if failure.code != "compile_error":
        yield from_error(failure)
        return
    why = _REFUSED
    if not is_shared and any(other.unit == outcome.unit and other is not outcome for other in subject.outcomes):
        kind = "emulated" if outcome.compiler == "emulated" else "cuda"
        why = _REFUSED_BY_ONE[kind].format(outcome.compiler)
    elif outcome.compiler == "emulated":
        why = "the compiler refuses it"
    # The first error's place stands in `where` alone.
    log = f"{failure.where}: error: {failure.message}"
    messages = list(_messages(log, "error"))
    for where, text in messages:
        yield error(where, text, why, failure.hint or "")
    yield from _warnings(log)
    if not messages:
        yield replace(from_error(failure), rule="")


def _warnings(log: str) -> Iterator[Finding]:
    for where, text in _messages(log, "warning"):
        yield warning(
            where, text, "CUDA's compiler warns of it", "mend it, or switch it off by #pragma nv_diag_suppress"
        )


def _messages(log: str, kind: str) -> Iterator[tuple[str, str]]:
    """Where a compiler's message is, and its text with the notes that follow it."""
    where, text = "", ""
    for line in log.splitlines():
        if (found := _MESSAGE.fullmatch(line)) is not None:
            if text:
                yield where, text
            where, text = (found["where"], found["text"]) if found["kind"] == kind else ("", "")
            number = found["number"]
            if text and number:
                text += f" (#{number.removesuffix('-D')})"
        elif text and (note := _NOTE.fullmatch(line)) is not None:
            text += f" ({note['where']}: {note['text']})"
    if text:
        yield where, text
