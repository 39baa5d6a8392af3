"""The words of the command line: verbs, flags and their help."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from harness import export, store
from harness.schema import PAIRINGS

PAIRS_HELP = "pairs of launches that measure the A/A floor; 0 leaves it out; default: 12"
BASELINE_HELP = "JSON lines, sorted, such as results/baselines/gate.jsonl"
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

    _gate(verb("gate", "judge a change: against a revision, a baseline, files, or over time"))

    baseline = verb("baseline", "write an accepted run as a file to gate against")
    baseline.add_argument("action", choices=("update",), metavar="update")
    baseline.add_argument("run", metavar="RUN", help="an id, its beginning, a folder, or latest")
    baseline.add_argument("--to", type=Path, required=True, metavar="FILE", help=BASELINE_HELP)
    accept = "why a run is the new norm though it does not pass the old one"
    baseline.add_argument("--accept", metavar="REASON", help=accept)

    export_ = verb("export", "write a run in another format")
    export_.add_argument("run", metavar="RUN")
    export_.add_argument("--to", required=True, choices=sorted([*export.FORMATS, "html"]))
    export_.add_argument("--output", type=Path, metavar="FILE", help="default: standard output")

    _own(verb)

    import_ = verb("import", "store the benchmarks of pytest-benchmark's JSON as a run")
    import_.add_argument("file", type=Path, metavar="FILE", help="of --benchmark-json or export")

    doctor = verb("doctor", "say what of this machine makes numbers noisy; changes nothing")
    doctor.add_argument("--json", action="store_true", help="print facts and findings as JSON")
    doctor.add_argument("--pairs", type=int, default=12, metavar="N", help=PAIRS_HELP)

    dashboard = verb("dashboard", "serve the dashboard on 127.0.0.1 until Ctrl-C")
    dashboard.add_argument("runs", nargs="*", metavar="RUN", help="show these only; default: all")
    dashboard.add_argument("--port", type=int, default=8501)
    return parser.parse_args(arguments)


def _own(verb: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Add what a variant of one's own begins with."""
    new = verb("new-variant", "print the file that a variant of your own begins with")
    new.add_argument("name", metavar="NAME", help="of the variant and, with .py, of its file")
    check = verb("check", "try the laws on a variant's file, before any timing")
    check.add_argument("file", type=Path, metavar="FILE", help="a Python file with a VARIANT")
    check.add_argument("--verbose", action="store_true", help="print the laws that hold, too")


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


def _gate(verb: argparse.ArgumentParser) -> None:
    """Add what a gate compares and where it tells of it."""
    help_ = "with --base a suite, with --baseline a run"
    verb.add_argument("subject", nargs="?", metavar="SUITE|RUN", help=help_)
    ways = verb.add_mutually_exclusive_group(required=True)
    help_ = "measure this revision and the code as it is now in turns on this machine"
    ways.add_argument("--base", metavar="REV", help=help_)
    ways.add_argument("--baseline", type=Path, metavar="FILE", help="judge a stored run by a file")
    help_ = "files of pytest-benchmark, one for each process, in the order measured"
    ways.add_argument("--base-files", nargs="+", type=Path, metavar="FILE", help=help_)
    help_ = "find change points over the runs of a folder"
    ways.add_argument("--history", type=Path, metavar="DIR", help=help_)
    verb.add_argument("--candidate-files", nargs="+", type=Path, default=[], metavar="FILE")
    help_ = "run or revision from which drift is measured; default: the first"
    verb.add_argument("--anchor", metavar="RUN|REV", help=help_)
    help_ = "chunked: both processes alive, in turns; apart: one after the other"
    verb.add_argument("--pairing", choices=PAIRINGS, help=help_)
    _choices(verb)
    help_ = "accepted regressions; default: suites/waivers.yaml, if there is one"
    verb.add_argument("--waivers", type=Path, metavar="FILE", help=help_)
    help_ = "compare times though the environments differ; never a baseline"
    verb.add_argument("--force", action="store_true", help=help_)
    help_ = "exit 3 if it cannot be told, or 0 with the word in all outputs; default: fail"
    verb.add_argument("--on-inconclusive", choices=("fail", "pass"), default="fail", help=help_)
    verb.add_argument("--json", type=Path, metavar="FILE", help="write the verdict as JSON")
    verb.add_argument("--junit", type=Path, metavar="FILE", help="write it as JUnit XML")
    help_ = "write it as a comment for a pull request"
    verb.add_argument("--markdown", type=Path, metavar="FILE", help=help_)
    verb.add_argument("--every", action="store_true", help="print what passed as well")
