"""A page of many trainings stays readable: it folds, figures have the best eight, the others are a click away."""

import csv
import re

import pytest

from jetloom.report.build import report
from tests.support.browser import CHROMIUM, browser

from .fabricate import fabricate, title_of
from .test_page import Page
from .test_pointer import numbers

pytestmark = pytest.mark.seconds

MODELS = ["pointnet", "salt", *(f"linformer-{number}" for number in range(1, 12))]
COST = "shapes-sim-accuracy_vs_cost"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The file of a page of 13 models with two seeds."""
    home = tmp_path_factory.mktemp("many")
    report(fabricate(home / "results", {"shapes-sim": MODELS}, [1, 2], jets=200), home / "report")
    return home / "report/index.html"


def accuracy(page) -> dict[str, float]:
    with (page.parent / "tables/shapes-sim.csv").open(newline="") as file:
        return {row["model"]: float(row["accuracy"]) for row in csv.DictReader(file)}


def test_pictures_have_the_best_and_say_so(page):
    text = page.read_text()
    captions = re.findall(r"<figcaption>(.*?)<span", text, re.S)
    complete = [caption for caption in captions if not caption.startswith("The best 8 of 13; the CSV file has all.")]
    assert len(captions) == 8
    assert len(complete) == 1 and "partition" in complete[0], "one network has some"
    for name in ("accuracy_vs_cost", "scaling", "training", "confusion"):
        with (page.parent / f"figures/shapes-sim/{name}.csv").open(newline="") as file:
            assert {row["model"] for row in csv.DictReader(file)} == set(MODELS), name
    models = [model["model"] for model in numbers(text, COST)["models"]]
    assert models == sorted(MODELS, key=lambda model: -accuracy(page)[model])


def test_tables_show_eight_rows_and_each_architecture(page):
    text = page.read_text()
    rows = {name: found for name, found in Page(text).rows.items() if name and len(found) > 12}
    assert {"shapes-sim-overview", "shapes-sim-runs"} <= set(rows)
    for name in rows:
        table = text[text.index(f'id="{name}"') :]
        body = table[table.index("<tbody>") : table.index("</tbody>")]
        shown = [variant for variant, more in re.findall(r'<tr data-variant="(\w+)"( class="more")?', body) if not more]
        assert len(shown) == 8
        assert set(shown) == {"pointnet", "salt", "linformer"}
    assert text.count('<details class="part"') == 2, "its tables and figures, and its trainings"
    assert (page.parent / "tables/shapes-sim-overview.html").read_text().count("<tr") == 14, "alone it is whole"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH (apt-get install chromium)")
def test_what_is_folded_opens(page, tmp_path):
    def shown(selector: str) -> int:
        return tab.ask(f"[...document.querySelectorAll('{selector}')].filter((item) => item.checkVisibility()).length")

    overview, runs = ("#shapes-sim-" + name for name in ("overview", "runs"))
    with browser(tmp_path) as tab:
        tab.open(page.as_uri())
        assert shown(f"{overview} tbody tr") == 8
        tab.click(f"{overview} thead button", 1)
        tab.click(f"{overview} thead button", 1)
        assert shown(f"{overview} tbody tr") == 8
        worst = min(accuracy(page).items(), key=lambda item: item[1])[0]
        first = f"document.querySelector('{overview} tbody tr').innerText"
        assert tab.ask(first).startswith(title_of(worst)), "the worst first, and it is seen"
        tab.click("details.rest > summary")
        assert shown(f"{overview} tbody tr") == 13

        assert shown(f"{runs} tbody tr") == 0
        tab.ask(f"location.hash = 'shapes-sim-run-{worst}'")
        assert tab.ask(
            "new Promise((done) => setTimeout(() => done(document.querySelector('tr:target').checkVisibility()), 200))"
        )
        assert shown(f"{runs} tbody tr") == 26, "who looks for one row sees them all"

        ninth = f"#{COST} .key details label"
        assert shown(f"#{COST} .key label") == 8
        tab.click(f"#{COST} .key summary")
        assert shown(ninth) == 5
        title = tab.ask(f"document.querySelector('{ninth}').innerText")
        tab.click(f"#{COST} .key button", 2)
        tab.click(f"{ninth} input")
        left, top, width, height = tab.place(f"#{COST} .u-over")
        tab.pointer("mouseMoved", left + width / 2, top + height / 2)
        assert title.strip() in tab.ask(f"document.querySelector('#{COST} .reading').innerText"), (
            "alone, so the nearest"
        )
