"""A trial of the gate: how often does it alarm at identical code, how often does it find slower?

    python -m tests.benchmarks.trial_gate --out DIR [--gates 40] [--share 0/2] [--identical]

Each gate measures every cell of suites/gate.yaml twice over: a tree of HEAD against a copy of it in
which three cells do real extra work, 5, 10 and 20 % of a step, which cells being drawn for each
gate. What is left is identical code. One measurement so tells four things: whether each of the
three was found, and whether a gate of the identical cells alone (judged anew without the others)
alarms, passes or cannot tell. Only times are measured: everything else repeats exactly.

It appends a line for each gate to DIR/trial.jsonl and goes on from there when it is started again.
Run it on a machine that is as busy as those that your gate will meet.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from harness import gate, planning, revisions, trees
from harness.cases import Asked
from harness.gate import Case, Terms, Verdict
from harness.judging.finding import Judgement
from harness.planning import Plan, Request
from harness.revisions import ROOT, Duet
from harness.schema import Run
from harness.sides import Servers
from harness.trees import Trees

SUITE = ROOT / "suites" / "gate.yaml"
SIZES = (0.05, 0.10, 0.20)
PLACE = "    return Workload(\n        cell=cell,"
EXTRA = '''

def _slowed(step, cell):
    """Repeat a share of each step as real work of the processor."""
    import json, os, time
    shares = json.loads(os.environ.get("TRIAL_SHARES", "{}"))
    share = shares.get(f"{cell.contender} {cell.phase} {cell.seq_len}")
    if share is None:
        return step

    def slowed():
        begin = time.process_time_ns()
        out = step()
        now = time.process_time_ns()
        end = now + int(share * (now - begin))
        while time.process_time_ns() < end:
            pass
        return out

    return slowed
'''


def main() -> None:
    """Run what is missing of the trial and print the counts."""
    parser = argparse.ArgumentParser(description="How often does the gate alarm, and find?")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--gates", type=int, default=40)
    parser.add_argument("--share", default="0/1", help="of the gates, such as 0/2 and 1/2")
    help_ = "slow nothing down: quicker, as seldom anything is measured again"
    parser.add_argument("--identical", action="store_true", help=help_)
    parser.add_argument("--report", action="store_true", help="print the counts only")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    log = args.out / "trial.jsonl"
    mine, of = map(int, args.share.split("/"))
    if not args.report:
        done = {each["gate"] for each in read(log)}
        due = [n for n in range(args.gates) if n % of == mine and n not in done]
        with side_by_side(ROOT) as both:
            for number in due:
                told = one(number, both, args.out, () if args.identical else SIZES)
                with log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(told, sort_keys=True) + "\n")
    sys.stdout.write("\n".join(counts(read(log))) + "\n")


def one(number: int, both: Trees, out: Path, sizes: Sequence[float]) -> dict[str, Any]:
    """Carry out one gate with one cell slowed by each size and return what it found."""
    with closing(planning.executor("local")) as checker:
        plan = planning.plan(Request(suite=SUITE), checker)
    plan = only_times(plan, number)
    chosen = random.Random(number).sample([job.cell for job in plan.jobs], len(sizes))
    shares = {f"{c.contender} {c.phase} {c.seq_len}": s for c, s in zip(chosen, sizes, strict=True)}
    asked = Duet(request=Request(suite=SUITE), base="HEAD", asked=Asked(), out=out / "runs")
    variables = {"TRIAL_SHARES": json.dumps(shares)}
    begin, used, load = time.monotonic(), busy(), psutil.getloadavg()[0]
    with Servers(both, variables) as sides:
        case = revisions.carry_out(plan, sides, asked, lambda _: None, in_full=False, controls=0)
    whole = gate.judge(case)
    slow = {cell.id: size for cell, size in zip(chosen, sizes, strict=True)}
    same = gate.judge(without(case, set(slow)))
    return {
        "gate": number,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cells": len(plan.jobs),
        "wall_s": round(time.monotonic() - begin),
        "load": round(load, 1),
        "others_cores": round((busy() - used) / (time.monotonic() - begin), 2),
        "contended": whole.contended[0],
        "stage": whole.stage,
        "slow": [told(whole, cell, size) for cell, size in slow.items()],
        "identical": {
            "cells": len(plan.jobs) - len(slow),
            "verdict": same.verdict,
            "stage": same.stage,
            "alarms": [f.cell for f in same.findings if f.is_red],
            "alarms_beside_slow": [
                f.cell for f in whole.findings if f.is_red and f.cell not in slow
            ],
            "unclear": sum(f.judgement is Judgement.INCONCLUSIVE for f in same.findings),
        },
        "floor": case.floor,
        "restless": case.restless,
        "runs": [case.base.header.run_id, *([case.again[0].header.run_id] if case.again else [])],
    }


def told(verdict: Verdict, cell: str, size: float) -> dict[str, Any]:
    """Return what a gate said of one slowed cell."""
    (found,) = [f for f in verdict.findings if f.cell == cell and f.metric == "latency"]
    return {
        "cell": cell,
        "size": size,
        "judgement": found.judgement.value,
        "ratio": found.ratio,
        "mde": found.mde,
    }


def without(case: Case, cells: set[str]) -> Case:
    """Return a case of the other cells only, as if these had never been in the suite."""
    kept = tuple(ids - cells for ids in case.terms.declared)
    terms: Terms = replace(case.terms, declared=(kept[0], kept[1]))
    again = None
    if case.again is not None:
        again = (pruned(case.again[0], cells), pruned(case.again[1], cells))
    base, candidate = pruned(case.base, cells), pruned(case.candidate, cells)
    if not gate.suspects(gate.hear(base, candidate, terms), terms.rule)[0]:
        again = None
    return replace(case, base=base, candidate=candidate, terms=terms, again=again)


def pruned(run: Run, cells: set[str]) -> Run:
    """Return a run without some cells."""
    header = replace(run.header, cells=tuple(c for c in run.header.cells if c.id not in cells))
    results = tuple(r for r in run.results if r.cell.id not in cells)
    return replace(run, header=header, results=results)


def only_times(plan: Plan, number: int) -> Plan:
    """Return a plan that measures times only, in an order of its own for each gate."""
    jobs = tuple(
        replace(
            job,
            metrics=("latency",),
            protocol=replace(job.protocol, pairing="chunked", order_seed=number),
        )
        for job in plan.jobs
    )
    cells = tuple(job.cell for job in jobs)
    header = replace(plan.header, metrics=("latency",), cells=cells, protocol=jobs[0].protocol)
    return replace(plan, jobs=jobs, header=header, skipped=())


class side_by_side:  # noqa: N801 - as `trees.side_by_side`, with the slowed copy
    """Two trees of HEAD, the candidate with the extra work in it, which a variable turns on."""

    def __init__(self, repository: Path) -> None:
        self._trees = trees.side_by_side(repository, "HEAD")

    def __enter__(self) -> Trees:
        both = self._trees.__enter__()
        for tree in (both.base, both.candidate):  # in both, so that they stay identical code
            file = tree / "harness" / "worker" / "workload.py"
            text = file.read_text(encoding="utf-8")
            assert PLACE in text
            text = text.replace(PLACE, f"    step = _slowed(step, cell)\n{PLACE}")
            file.write_text(text + EXTRA, encoding="utf-8")
        trees.compile_all(both.base, both.candidate)
        return both

    def __exit__(self, *error: Any) -> None:
        self._trees.__exit__(*error)


def busy() -> float:
    """Return the seconds that all processors have worked for others than this trial."""
    total = psutil.cpu_times()
    own = psutil.Process().cpu_times()
    return total.user + total.nice + total.system - own.user - own.children_user


def read(log: Path) -> list[Mapping[str, Any]]:
    """Return the gates that are done."""
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def counts(done: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what the gates so far come to, in lines."""
    n = len(done)
    if not n:
        return ["no gate is done"]
    same = [each["identical"] for each in done]
    lines = [
        f"{n} gates of {done[0]['cells']} cells, load {min(d['load'] for d in done):g} to "
        f"{max(d['load'] for d in done):g}, {min(d['wall_s'] for d in done)} to "
        f"{max(d['wall_s'] for d in done)} s",
        f"identical code, {min(s['cells'] for s in same)} cells or more: "
        f"{sum(bool(s['alarms']) for s in same)} of {n} "
        f"gates alarm ({sum(len(s['alarms']) for s in same)} cells), "
        f"{sum(s['verdict'] == 'pass' for s in same)} pass, "
        f"{sum(s['verdict'] == 'inconclusive' for s in same)} cannot tell; "
        f"{sum(s['unclear'] for s in same)} of {sum(s['cells'] for s in same)} cells unclear; "
        f"alarms beside slow cells: {sum(len(s['alarms_beside_slow']) for s in same)}",
    ]
    for size in SIZES:
        found = [s for each in done for s in each["slow"] if s["size"] == size]
        words = [s["judgement"] for s in found]
        if not words:
            continue
        lines.append(
            f"+{size * 100:g} %: {words.count('regression')} of {len(words)} found, "
            f"{words.count('inconclusive')} cannot tell, {words.count('pass')} pass"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
