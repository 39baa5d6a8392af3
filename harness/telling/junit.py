"""A gate's verdict as JUnit XML: one test case a cell and metric, and two of the gate itself."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from harness.gate import INCOMPARABLE, Verdict
from harness.judging.finding import Finding, Judgement
from harness.schema import FAULTS
from harness.telling.gate_sheets import why
from harness.telling.words import plain


def text(verdict: Verdict, *, strict: bool = True) -> str:
    """Return the document.

    Args:
        verdict: what to tell.
        strict: an inconclusive gate fails; else what cannot be told is skipped.
    """
    suite = ET.Element("testsuite", name=f"gate.{verdict.case.candidate.header.suite}")
    for finding in verdict.findings:
        case = ET.SubElement(
            suite, "testcase", classname=f"gate.{finding.metric}", name=plain(finding.cell)
        )
        _ending(case, finding, strict=strict)
    comparable = ET.SubElement(suite, "testcase", classname="gate.run", name="comparable")
    if verdict.verdict == INCOMPARABLE:
        _child(comparable, "failure", verdict.sentence, "not-comparable")
    complete = ET.SubElement(suite, "testcase", classname="gate.run", name="complete")
    missing = [f for f in verdict.findings if f.kind in ("missing", "removed") and not f.waiver]
    if missing:
        _child(complete, "failure", f"{len(missing)} missing, {missing[0].cell} first", "missing")
    cases = list(suite)
    suite.set("tests", str(len(cases)))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(sum(case.find(tag) is not None for case in cases)))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _ending(case: ET.Element, finding: Finding, *, strict: bool) -> None:
    told = why(finding)
    is_fault = finding.outcomes[1] in FAULTS
    if finding.is_red:
        _child(case, "error" if is_fault else "failure", told, finding.kind or "regression")
    elif finding.judgement is Judgement.INCONCLUSIVE and strict:
        _child(case, "failure", told, "inconclusive")
    elif finding.judgement not in (Judgement.PASS, Judgement.IMPROVEMENT):
        _child(case, "skipped", told, None)


def _child(case: ET.Element, tag: str, message: str, kind: str | None) -> None:
    child = ET.SubElement(case, tag, message=plain(message))
    if kind is not None:
        child.set("type", kind)
