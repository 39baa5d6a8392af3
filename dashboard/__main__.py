"""Starts the dashboard: `python -m dashboard [--root DIR] [--port N] [RUN ...]`.

Streamlit finds its settings in `.streamlit/` beside `app.py`. Those that keep the page private are
given again as flags, which win over any file of the user's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness import store

APP = Path(__file__).with_name("app.py")
PRIVATE = (
    *("--server.address", "127.0.0.1"),
    *("--server.headless", "true"),
    *("--server.showEmailPrompt", "false"),
    *("--browser.gatherUsageStats", "false"),
)


def command(root: Path, port: int, runs: list[str]) -> list[str]:
    """Return the arguments for Streamlit's command line."""
    streamlit = ["streamlit", "run", str(APP), *PRIVATE, "--server.port", str(port)]
    return [*streamlit, "--", "--root", str(root.resolve()), *runs]


def main() -> None:
    """Read the arguments and become Streamlit."""
    parser = argparse.ArgumentParser(prog="python -m dashboard", description=__doc__)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="show these only; default: all")
    parser.add_argument("--root", type=Path, default=store.RESULTS, metavar="DIR")
    parser.add_argument("--port", type=int, default=8501)
    args = parser.parse_args()
    from streamlit.web import cli  # noqa: PLC0415 - so that `--help` does not wait for it

    sys.argv = command(args.root, args.port, args.runs)
    cli.main()


if __name__ == "__main__":
    main()
