"""An OpenWhisk API for one developer's machine: it runs CPU actions as the user's own processes, with no wall."""
