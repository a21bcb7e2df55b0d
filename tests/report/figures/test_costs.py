"""The front of the best models at their cost."""

from jetloom.report.figures.costs import pareto


def test_pareto_front():
    assert pareto([(1, 0.5), (2, 0.4), (3, 0.7), (3, 0.6), (9, 0.7)]) == [0, 2]
