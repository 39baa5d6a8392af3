"""A gate's verdict as JSON: the same bytes for the same inputs."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from harness.codec import canonical, encode
from harness.gate import Verdict
from harness.judging.finding import Figures, Finding
from harness.judging.rule import VERSION, Mode
from harness.schema import Outcome, Run
from harness.telling.gate_sheets import blindness

SCHEMA = "gate-verdict/1"
DIGITS = 6  # significant, so that the last bits of a processor's logarithm do not show
NAMES = {"byte": "B", "flop": "FLOP", "ns": "ns", "1": "1", "J": "J", "": ""}


def text(verdict: Verdict) -> str:
    """Return the document; nothing in it depends on the time at which it is made."""
    return json.dumps(document(verdict), indent=1, sort_keys=True, allow_nan=False) + "\n"


def document(verdict: Verdict) -> dict[str, Any]:
    """Return the document as plain values; cells by id and metric."""
    case, rule = verdict.case, verdict.case.terms.rule
    again = case.again or ()
    timed = sum(f.p is not None for f in verdict.findings)
    return {
        "schema": SCHEMA,
        "verdict": verdict.verdict,
        "exit_code": verdict.exit_code,
        "sentence": verdict.sentence,
        "mode": case.terms.mode.value,
        "forced": case.terms.forced,
        "stage": verdict.stage,
        "base": _side(case.names[0], [case.base, *again[:1]]),
        "candidate": _side(case.names[1], [case.candidate, *again[1:]]),
        "environment": {
            "comparable": all(d.forbids == "nothing" for d in verdict.differences),
            "differences": encode(verdict.differences),
            "contended_launches": {
                "base": _round(verdict.contended[0]),
                "candidate": _round(verdict.contended[1]),
            },
            "aa_floor": _round(case.floor),
        },
        "rule": {
            **encode(rule),
            "version": VERSION,
            "test": "paired t" if case.terms.mode is Mode.PAIRED else "Welch, trimmed",
            "family": timed,
            "limits": encode(case.terms.limits),
        },
        "suite": {
            "name": case.candidate.header.suite,
            "cells": len({f.cell for f in verdict.findings}),
            "counts": {j.value: n for j, n in verdict.counts.items()},
            "shift": {
                "ratio": _round(math.exp(verdict.shift.estimate)),
                "p": _round(verdict.shift.p),
            },
            "mde_median": _round(blindness(verdict.findings)),
            "declared_cells": _digest(sorted(case.terms.declared[1])),
        },
        "cells": [
            _cell(f) for f in sorted(verdict.findings, key=lambda f: (f.cell, f.metric, f.stage))
        ],
        "caveats": list(verdict.caveats),
    }


def _side(name: str, runs: list[Run]) -> dict[str, Any]:
    environments = sorted({name for run in runs for name in run.environments})
    return {
        "name": name,
        "runs": [run.header.run_id for run in runs],
        "fingerprint": f"sha256:{_digest(environments)}",
    }


def _cell(finding: Finding) -> dict[str, Any]:
    ends = finding.interval
    return {
        "id": finding.cell,
        "metric": finding.metric,
        "unit": NAMES[finding.unit],
        "verdict": finding.judgement.value,
        "kind": finding.kind,
        "reason": finding.reason,
        "state": {
            "base": _outcome(finding.outcomes[0]),
            "candidate": _outcome(finding.outcomes[1]),
        },
        "base": _figures(finding.base),
        "candidate": _figures(finding.candidate),
        "ratio": _round(finding.ratio),
        "ci90": None if ends is None else [_round(ends.lo), _round(ends.hi)],
        "p": _round(finding.p),
        "p_adj": _round(finding.p_adjusted),
        "mde": _round(finding.mde),
        "notes": list(finding.notes),
        "waiver": finding.waiver,
        "stage": finding.stage,
    }


def _figures(figures: Figures | None) -> dict[str, Any] | None:
    if figures is None:
        return None
    return {key: _round(value) for key, value in encode(figures).items()}


def _outcome(outcome: Outcome | None) -> str:
    return "missing" if outcome is None else outcome.value


def _round(value: float | None) -> float | None:
    """Return a number with six significant digits; what is not finite becomes null."""
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:12]
