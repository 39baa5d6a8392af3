"""What two runs can say about each other; `harness.compare` is its door."""
