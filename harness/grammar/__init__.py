"""The grammar of a suite file, from bytes to cells; `harness.suite` is its door."""
