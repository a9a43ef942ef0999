"""The stack on one machine: the object store and the pool that `kaas up` starts."""
