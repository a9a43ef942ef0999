"""What `kaas check` finds in a kernel action: one small module per rule, over one view of the action. Pure."""

from __future__ import annotations

from kaas_pool.findings.finding import Finding, Severity
from kaas_pool.findings.scan import find, rules
from kaas_pool.findings.subject import Outcome, Subject

__all__ = ["Finding", "Outcome", "Severity", "Subject", "find", "rules"]
