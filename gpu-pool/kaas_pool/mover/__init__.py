"""The mover: the one process that talks to object stores, holds their credentials, and keeps the host tier."""
