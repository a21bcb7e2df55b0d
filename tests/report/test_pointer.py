"""Figures under a pointer, in a real browser: values are read, taggers switched off, parts enlarged."""

import hashlib
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from jetloom.report.page.pointer import UPLOT
from tests.support.browser import CHROMIUM, browser

pytestmark = pytest.mark.seconds

POINTED = ("roc", "accuracy_vs_cost")
TITLES = ("ParT", "SAL-T", "Linformer")


def numbers(page: str, figure: str) -> dict:
    """What the script of a figure is given."""
    part = page[page.index(f'<figure id="{figure}">') :]
    return json.loads(re.search(r'<script type="application/json" class="numbers">(.*?)</script>', part, re.S)[1])


def test_the_library_is_the_published_one():
    """Its checksums are those that stand beside it, and its licence goes wherever it goes."""
    told = dict(re.findall(r"\| `(\S+)` \| (\w{64}) \|", (UPLOT / "README.md").read_text()))
    assert {name: hashlib.sha256((UPLOT / name).read_bytes()).hexdigest() for name in told} == told
    assert set(told) == {path.name for path in UPLOT.iterdir()} - {"README.md"}


def test_the_page_carries_it_once_with_its_licence(made):
    assert made.page.count((UPLOT / "uPlot.iife.min.js").read_text()) == 1
    assert made.page.count((UPLOT / "LICENSE").read_text().strip()) == 1


def test_the_numbers_are_those_of_the_pictures(made):
    """Each point of a curve is a line of the CSV file of the figure."""
    table = pd.read_csv(made.output / "figures/jetclass-sim/roc.csv")
    content = numbers(made.page, "jetclass-sim-roc")
    assert [model["title"] for model in content["models"]] == list(TITLES), "the most accurate first"
    assert len(content["plots"]) == table["class"].nunique()
    for plot, (_, of_class) in zip(content["plots"], table.groupby("class", sort=False), strict=True):
        for curve in plot["curves"]:
            own = of_class[of_class["model"] == curve["model"]]
            assert len(curve["x"]) <= 50
            efficiency = np.interp(curve["x"], own["signal_efficiency"], own["background_efficiency"])
            np.testing.assert_allclose(curve["y"], 1 / efficiency, rtol=2e-2)
    table = pd.read_csv(made.output / "figures/shapes-sim/accuracy_vs_cost.csv").set_index("model")
    for plot, name in zip(numbers(made.page, "shapes-sim-accuracy_vs_cost")["plots"], table.columns[-4:], strict=True):
        found = {curve["model"]: (*curve["x"], *curve["y"]) for curve in plot["curves"]}
        assert set(found) == set(table.index)
        for model, point in found.items():
            np.testing.assert_allclose(point, table.loc[model, [name, "accuracy"]].tolist(), rtol=1e-3)


@pytest.fixture(scope="module")
def tab(made, tmp_path_factory):
    home = tmp_path_factory.mktemp("browser")
    # From elsewhere: nothing beside the page is needed.
    shutil.copy(made.output / "index.html", home / "page.html")
    with browser(home) as tab:
        tab.address = (home / "page.html").as_uri()
        yield tab


ROC, COST = "#jetclass-sim-roc", "#jetclass-sim-accuracy_vs_cost"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH (apt-get install chromium)")
class TestInTheBrowser:
    def reading(self, tab, figure: str, number: int = 0) -> str:
        return tab.ask(f"""(() => {{
            const reading = document.querySelectorAll("{figure} .reading")[{number}];
            return reading.hidden ? "" : reading.innerText;
        }})()""")

    def axis(self, tab, figure: str, number: int = 0) -> tuple[float, float]:
        """Ends of what is shown along x, as the pointer reads them at the edges."""
        left, top, width, height = tab.place(f"{figure} .u-over", number)
        ends = []
        for x in (left + 1, left + width - 1):
            tab.pointer("mouseMoved", x, top + height / 2)
            ends.append(float(re.search(r"efficiency (\S+)", self.reading(tab, figure, number))[1]))
        return tuple(ends)

    def test_values_are_read_and_taggers_switched_off(self, tab, made):
        tab.open(tab.address)
        left, top, width, height = tab.place(f"{ROC} .u-over")
        tab.pointer("mouseMoved", left + 0.97 * width, top + 0.6 * height)
        shown = self.reading(tab, ROC)
        efficiency = float(re.search(r"Signal efficiency (\S+)", shown)[1])
        assert abs(efficiency - 0.97) < 0.02
        content = numbers(made.page, ROC[1:])
        values = {
            curve["model"]: dict(zip(curve["x"], curve["y"], strict=True)) for curve in content["plots"][0]["curves"]
        }
        for model in content["models"]:
            value = values[model["model"]][efficiency]
            assert float(re.search(rf"{model['title']} (\S+)", shown)[1]) == value
        tab.click(f"{ROC} .key input", 1)
        left, top, width, height = tab.place(f"{ROC} .u-over")
        tab.pointer("mouseMoved", left + 0.97 * width, top + 0.5 * height)
        assert "SAL-T" not in self.reading(tab, ROC)
        assert "ParT" in self.reading(tab, ROC)
        tab.pointer("mouseMoved", 2, 2)
        assert self.reading(tab, ROC) == ""

    def test_points_name_themselves(self, tab, made):
        tab.open(tab.address)
        left, top, width, height = tab.place(f"{COST} .u-over", 1)
        table = pd.read_csv(made.output / "figures/jetclass-sim/accuracy_vs_cost.csv").set_index("model")
        dearest = table["flops"].idxmax()
        title = {"part": "ParT", "salt": "SAL-T", "linformer": "Linformer"}[dearest]
        tab.pointer("mouseMoved", left + width - 5, top + height / 2)
        shown = self.reading(tab, COST, 1)
        assert shown.startswith(f"FLOPs, 50 particles {table['flops'].max() / 1e6:.4g} M")
        assert f"{title} {table.loc[dearest, 'accuracy']:.4g}" in shown

    def test_a_part_is_enlarged_and_the_whole_comes_back(self, tab):
        tab.open(tab.address)
        whole = self.axis(tab, ROC)
        left, top, width, height = tab.place(f"{ROC} .u-over")
        tab.drag((left + 0.9 * width, top + 0.2 * height), (left + 0.99 * width, top + 0.9 * height))
        low, high = self.axis(tab, ROC)
        assert 0.88 < low < 0.93 < 0.97 < high <= 1
        tab.click(f"{ROC} .key button", 2)
        assert self.axis(tab, ROC) == whole
        tab.drag((left + 0.9 * width, top + 0.2 * height), (left + 0.99 * width, top + 0.9 * height))
        assert self.axis(tab, ROC) != whole
        for count in (1, 2):
            for kind in ("mousePressed", "mouseReleased"):
                tab.pointer(kind, left + width / 2, top + height / 2, button="left", clickCount=count)
        assert self.axis(tab, ROC) == whole

    def test_keys_read_too(self, tab):
        tab.open(tab.address)
        tab.ask(f"document.querySelector('{ROC} .panel').focus()")
        tab.press("ArrowRight")
        first = self.reading(tab, ROC)
        tab.press("ArrowRight")
        second = self.reading(tab, ROC)
        assert first and second and first != second
        tab.press("Escape")
        assert self.reading(tab, ROC) == ""

    def test_print_and_browsers_without_scripts_have_the_pictures(self, tab):
        shown = (
            f"""["img", ".live"].map((part) => document.querySelector(`{ROC} ${{part}}`)?.checkVisibility() ?? false)"""
        )
        tab.open(tab.address)
        assert tab.ask(shown) == [False, True]
        tab.call("Emulation.setEmulatedMedia", media="print")
        assert tab.ask(shown) == [True, False]
        tab.call("Emulation.setEmulatedMedia", media="")
        tab.call("Emulation.setScriptExecutionDisabled", value=True)
        tab.open(tab.address)
        assert tab.ask(shown) == [True, False]
        tab.call("Emulation.setScriptExecutionDisabled", value=False)

    def test_on_a_phone_nothing_leaves_the_screen(self, tab):
        tab.open(tab.address, width=400)
        left, top, width, height = tab.place(f"{ROC} .u-over")
        assert left + width <= 400
        reading = f"document.querySelector('{ROC} .reading')"
        for share in (0.6, 0.95):
            tab.pointer("mouseMoved", left + share * width, top + 0.5 * height)
            edges = tab.ask(f"(({{left, right}}) => [left, right])({reading}.getBoundingClientRect())")
            assert edges[0] >= 0 and edges[1] <= 400
        assert tab.ask("document.documentElement.scrollWidth") <= 400
