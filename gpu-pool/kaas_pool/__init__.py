"""The shared GPU pool: front, mover, executors, compilers and their supervisor (ARCHITECTURE.md)."""
