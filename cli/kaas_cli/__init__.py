"""The `kaas` command."""
