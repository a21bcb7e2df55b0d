"""The legend above the panels."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jetloom.drawing.panels import legend
from jetloom.drawing.style import looks, publication_style
from jetloom.results.collection import DataSet

LONG = "SAL-T without convolution, batches of 128, 512, 2048"


@pytest.mark.parametrize(
    ("titles", "rows"), [(["ParT"], 1), (["ParT", "SAL-T", "PFN"] * 5, 2), ([LONG] * 9, 3), ([LONG, "PFN", "ParT"], 1)]
)
def test_every_name_is_in_the_picture(titles: list[str], rows: int) -> None:
    names = [f"model{index}" for index in range(len(titles))]
    entries = [SimpleNamespace(model=name, title=title) for name, title in zip(names, titles, strict=True)]
    with publication_style():
        figure = Figure(figsize=(13, 4), layout="constrained")
        figure.subplots(1, 4)
        legend(figure, cast("DataSet", SimpleNamespace(entries=entries)), looks(names), "marker")
        FigureCanvasAgg(figure).draw()
        [drawn] = cast("list[Any]", figure.legends)
        boxes = [text.get_window_extent() for text in drawn.get_texts()]
    assert len(boxes) == len(titles)
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)
    assert len({round(box.y0) for box in boxes}) == rows
