"""Runs in words and tables; `harness.report` and `harness.export` are its doors."""
