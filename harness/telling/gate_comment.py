"""A gate's verdict as one sticky comment of a pull request, and as GitHub's step summary."""

from __future__ import annotations

from collections.abc import Sequence

from harness.gate import INCOMPARABLE, INCONCLUSIVE, PASS, REGRESSION, Verdict
from harness.judging.finding import Finding, Judgement
from harness.telling.gate_sheets import barring, notes, row, why
from harness.telling.words import plain

MARKER = "<!-- attention-harness gate -->"  # the comment that is edited in place
MOST_ROWS = 60
MOST_CHARACTERS = 60_000  # of the 65536 that GitHub takes
HEADS = {
    PASS: "Gate: pass",
    REGRESSION: "Gate: regression",
    INCONCLUSIVE: "Gate: cannot tell",
    INCOMPARABLE: "Gate: not comparable",
}
COLUMNS = (1, 2, 3, 4, 5, 6)  # of a table's row


def text(verdict: Verdict, *, link: str | None = None) -> str:
    """Return Markdown: the verdict, what is red, what cannot be told, the rest folded.

    Args:
        verdict: what to tell.
        link: where all of it stands; named where the comment is cut.
    """
    parts = [MARKER, f"### {HEADS[verdict.verdict]}", escaped(verdict.sentence)]
    red = _of(verdict, Judgement.REGRESSION, Judgement.REMOVED)
    if red:
        parts.append(_table(red, link))
    unclear = _of(verdict, Judgement.INCONCLUSIVE)
    if unclear:
        parts.append(f"**Could not be judged: {len(unclear)}**")
        parts.append("\n".join(_line(f) for f in unclear[:MOST_ROWS]))
    better = _of(verdict, Judgement.IMPROVEMENT)
    if better:
        parts.append(_folded(f"{len(better)} improved", _table(better, link)))
    differing = barring(verdict)
    if differing:
        lines = [
            f"- {escaped(d.key)}: {escaped(d.base)} / {escaped(d.candidate)}" for d in differing
        ]
        parts.append(_folded("conditions that differ", "\n".join(lines)))
    parts.append("\n".join(f"- {escaped(note)}" for note in notes(verdict)[:-1]))
    return _cut("\n\n".join(parts), link) + "\n"


def escaped(text: str) -> str:
    """Return text that GitHub shows as it is: no table, no code, nobody called."""
    shown = plain(text)
    for sign in "\\`*_[]<>|":
        shown = shown.replace(sign, f"\\{sign}")
    return shown.replace("@", "@\u200b").replace("#", "#\u200b")


def _of(verdict: Verdict, *judgements: Judgement) -> list[Finding]:
    return [f for f in verdict.findings if f.judgement in judgements]


def _table(found: Sequence[Finding], link: str | None) -> str:
    lines = [
        "| cell | metric | base | candidate | ratio | 90 % interval | why |",
        "|---|---|---:|---:|---:|---|---|",
    ]
    for finding in found[:MOST_ROWS]:
        told = row(finding)
        shown = [*(told[i] for i in COLUMNS), why(finding)]
        lines.append(f"| {' | '.join(escaped(each) for each in shown)} |")
    if len(found) > MOST_ROWS:
        rest = f"and {len(found) - MOST_ROWS} more"
        lines.append(f"\n[{rest}]({link})" if link else f"\n{rest}")
    return "\n".join(lines)


def _line(finding: Finding) -> str:
    return f"- {escaped(finding.cell)} {escaped(finding.metric)}: {escaped(why(finding))}"


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def _cut(text: str, link: str | None) -> str:
    if len(text) <= MOST_CHARACTERS:
        return text
    kept = text[:MOST_CHARACTERS].rpartition("\n")[0]
    return f"{kept}\n\n{f'[the rest]({link})' if link else 'the rest was cut'}"
