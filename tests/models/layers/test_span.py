"""The likeliest answer of a text."""

import torch

from models.layers.span import Span


def test_the_best_span_is_the_best_of_all_spans() -> None:
    draws = torch.Generator().manual_seed(0)
    span = Span(*(torch.randn(20, 9, generator=draws) for _ in range(2)))
    for longest in (1, 3, 9, 50):
        first, last = span.best(longest)
        for row in range(20):
            scores = {
                (i, j): float(span.start[row, i] + span.end[row, j])
                for i in range(9)
                for j in range(i, min(9, i + longest))
            }
            assert max(scores, key=lambda pair: scores[pair]) == (int(first[row]), int(last[row]))
