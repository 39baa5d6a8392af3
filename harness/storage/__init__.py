"""How results lie on the disk; `harness.store` is the only door."""
