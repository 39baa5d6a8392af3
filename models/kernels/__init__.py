"""Fast ways to compute a mechanism: one file per mechanism and backend."""
