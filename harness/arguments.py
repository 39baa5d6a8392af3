"""The words of the command line: verbs, flags and their help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from harness import export, store

PAIRS_HELP = "pairs of launches that measure the A/A floor; 0 leaves it out; default: 12"
LISTINGS = ("variants", "tasks", "metrics", "suites", "runs", "phases")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the checked arguments; `verb` names the command.

    Raises:
        SystemExit: with code 2 for bad usage, after a message; with 0 after `--help`.
    """
    parser = argparse.ArgumentParser(
        prog="python -m harness",
        description="Measures attention variants: time, peak memory, accuracy over length.",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    out = argparse.ArgumentParser(add_help=False)
    help_ = "folder of the results; default: results"
    out.add_argument("--out", type=Path, default=store.RESULTS, metavar="DIR", help=help_)

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(
            name, help=text, description=text, parents=[out], allow_abbrev=False
        )

    _run(verb("run", "measure a suite; ends with tables, an answer and the run's folder"))

    profile = verb("profile", "measure one cell with every instrument: where its time goes")
    profile.add_argument("suite", type=Path, metavar="SUITE", help="a YAML file")
    _choices(profile)

    listing = verb("list", "print what there is, one line each")
    listing.add_argument("what", metavar="|".join(LISTINGS))

    show = verb("show", "print a run or one of its cells in full")
    show.add_argument("run", metavar="RUN", help="an id, its beginning, a folder, or latest")
    show.add_argument("cell", nargs="?", metavar="CELL", help="an id or its beginning")

    compare = verb("compare", "print the ratios of two runs, cell by cell")
    compare.add_argument("base", metavar="BASE")
    compare.add_argument("run", metavar="CANDIDATE")

    export_ = verb("export", "write a run in another format")
    export_.add_argument("run", metavar="RUN")
    export_.add_argument("--to", required=True, choices=sorted([*export.FORMATS, "html"]))
    export_.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")

    import_ = verb("import", "store the benchmarks of pytest-benchmark's JSON as a run")
    import_.add_argument("file", type=Path, metavar="FILE", help="of --benchmark-json or export")

    doctor = verb("doctor", "say what of this machine makes numbers noisy; changes nothing")
    doctor.add_argument("--json", action="store_true", help="print facts and findings as JSON")
    doctor.add_argument("--pairs", type=int, default=12, metavar="N", help=PAIRS_HELP)

    dashboard = verb("dashboard", "serve the dashboard on 127.0.0.1 until Ctrl-C")
    dashboard.add_argument("runs", nargs="*", metavar="RUN", help="show these only; default: all")
    dashboard.add_argument("--port", type=int, default=8501)
    return parser.parse_args(arguments)


def _choices(verb: argparse.ArgumentParser) -> None:
    """Add what changes a suite and chooses among its cells."""

    def many(flag: str, metavar: str, text: str, kind: type = str) -> None:
        verb.add_argument(flag, action="append", default=[], type=kind, metavar=metavar, help=text)

    many("--set", "PATH=VALUE", "change a value of the suite, such as fixed.batch=4")
    many("--only", "PATTERN", "measure these cells: an id, a contender or key=value")
    many("--skip", "PATTERN", "leave these cells out")
    many("--plugin", "FILE", "a Python file with a variant of your own", Path)
    help_ = "look for code that cheats the clock or the proof; findings are facts of the cells"
    verb.add_argument("--audit", action="store_true", help=help_)
    verb.add_argument("--executor", default="local", metavar="NAME", help="default: local")


def _run(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("suite", nargs="?", type=Path, metavar="SUITE", help="a YAML file")
    _choices(verb)
    verb.add_argument("--resume", metavar="RUN", help="measure what a stopped run still lacks")
    verb.add_argument("--dry-run", action="store_true", help="print the cells, measure nothing")
