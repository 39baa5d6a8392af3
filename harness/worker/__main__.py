"""`python -m harness.worker DESCRIPTOR`: the fork server, started by an executor."""

import sys

from harness.worker.server import main

if __name__ == "__main__":
    main(int(sys.argv[1]))
