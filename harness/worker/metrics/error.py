"""Error: how far an approximate mechanism is from exact attention on the same vectors.

Every attention layer of the network is heard while the network, with its seeded untrained weights,
reads real text; then, for a sample of query rows, its output is compared with exact softmax
attention of the very same q, k and v, in float64. A mechanism with shared queries and keys is
compared with exact attention by its own rule (unit keys, itself only if alone).
"""

from __future__ import annotations

import torch

from harness.schema import Better, Measurement
from harness.worker.listening import counterpart, listen, recall, spread_rows, weights
from harness.worker.metric import Bench, Findings, Metric
from harness.worker.proof import relative_errors

TINY = 1e-300  # an error of exactly zero has no ratio


def collect(bench: Bench) -> Findings:
    """Return the errors of each layer, in order of their calls.

    * `error`: relative Frobenius error of the output, |o - o*| / |o*|;
    * `error_eager`: the same of exact attention computed plainly in the cell's dtype, so that what
      is owed to the dtype is not blamed on the mechanism;
    * `attention_recall`: the share of exact softmax mass on keys that the mechanism visits.

    Raises:
        Unsupported: no exact counterpart of the mechanism is known.
    """
    work = bench.fresh()
    rows = spread_rows(work.cell.seq_len, work.cell.seed).to(work.tokens.device)
    found: dict[str, list[float]] = {"error": [], "error_eager": [], "attention_recall": []}
    with torch.no_grad():
        for heard in listen(work.model, lambda: work.model(work.tokens)):
            exact = counterpart(heard.attention, work.cell.seq_len, heard.q.shape[-1])
            plain = exact(heard.q.dtype)
            q, k, v = heard.q.double(), heard.k.double(), heard.v.double()
            wanted = {"values": exact(torch.float64).rows(q, k, v, rows)}
            eager = plain.rows(heard.q, heard.k, heard.v, rows)
            got = {"values": heard.output[:, :, rows]}
            found["error"].append(relative_errors(got, wanted)["values"])
            found["error_eager"].append(relative_errors({"values": eager}, wanted)["values"])
            mine = weights(heard.attention, heard.q, heard.k, rows)
            exactly = weights(exact(torch.float64), q, k, rows)
            found["attention_recall"].append(recall(mine, exactly))
    ratio = max(found["error"]) / max(*found["error_eager"], TINY)
    return Findings(
        measurements=(
            _measured("error", found, "lower", "relative Frobenius error of the output"),
            _measured("error_eager", found, "lower", "the same of eager exact attention"),
            _measured("attention_recall", found, "higher", "exact softmax mass on visited keys"),
        ),
        facts={**work.facts, "error_rows": len(rows), "error_over_eager": ratio},
    )


def _measured(name: str, found: dict[str, list[float]], better: Better, what: str) -> Measurement:
    method = f"{what}, untrained weights on real text, one sample a layer"
    return Measurement(
        metric=name, unit="1", better=better, samples=tuple(found[name]), method=method
    )


METRIC = Metric(collect=collect, headline="error")
