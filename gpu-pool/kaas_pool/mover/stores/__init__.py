"""Object stores behind one interface: S3 over HTTP, and local files that stand in for it."""
