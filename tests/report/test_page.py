"""The page: complete, self-contained, the same every time."""

import filecmp
import multiprocessing
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from jetloom.cli import main
from jetloom.errors import JetloomError
from jetloom.report.build import figure, figures, report

from .conftest import MODELS, SEEDS
from .fabricate import TITLES

pytestmark = pytest.mark.seconds

FIGURES_OF_JETS = {
    "roc", "rejection", "confusion", "scores", "dependence", "accuracy_vs_cost", "scaling", "throughput", "training",
    "observables", "partitions", "attention",
}  # fmt: skip
FIGURES_OF_SHAPES = FIGURES_OF_JETS - {"roc", "rejection", "dependence", "observables"}


class Page(HTMLParser):
    """What a browser would fetch, the tables, and the links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.heads: dict[str, list[str]] = {}
        self.rows: dict[str, list[list[dict]]] = {}
        self.ids: set[str] = set()
        self._table = None
        self._in_head = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if "id" in values:
            assert values["id"] not in self.ids, "ids are unique"
            self.ids.add(values["id"])
        self.fetched += [values[key] for key in ("src", "srcset", "poster", "data") if key in values]
        if tag == "link":
            self.fetched.append(values["href"])
        if tag == "a":
            self.links.append(values["href"])
        if tag == "img":
            assert values.get("alt")
        if tag == "table":
            self._table = values.get("id")
            self.heads[self._table], self.rows[self._table] = [], []
        if tag == "thead":
            self._in_head = True
        if tag == "tr" and not self._in_head and self._table:
            self.rows[self._table].append([])
        if tag in ("td", "th") and not self._in_head and self._table:
            self.rows[self._table][-1].append(values)

    def handle_endtag(self, tag):
        if tag == "thead":
            self._in_head = False

    def handle_data(self, data):
        if self._in_head and data.strip():
            self.heads[self._table].append(data.strip())


def test_the_page_loads_nothing_and_is_small(made):
    page = Page(made.page)
    assert page.fetched
    assert all(source.startswith("data:") for source in page.fetched)
    assert "@import" not in made.page
    assert not re.search(r"url\(\s*['\"]?(?!data:)", made.page)
    assert (made.output / "index.html").stat().st_size < 5_000_000


def test_every_link_leads_somewhere(made):
    page = Page(made.page)
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        elif not link.startswith("http"):
            assert (made.output / link).is_file(), link
    runs = [link for link in page.links if link.startswith("http")]
    assert len(runs) == 12
    assert all(re.fullmatch(r"http://127.0.0.1:5000/#/experiments/1/runs/\w{32}", link) for link in runs)
    assert "jetloom mlflow ui" in made.page


def test_each_figure_has_its_three_files_and_a_caption(made):
    for dataset, names in (("jetclass-sim", FIGURES_OF_JETS), ("shapes-sim", FIGURES_OF_SHAPES)):
        directory = made.output / "figures" / dataset
        assert {path.name for path in directory.iterdir()} == {
            f"{name}.{kind}" for name in names for kind in ("pdf", "png", "csv")
        }
        for name in names:
            assert (directory / f"{name}.csv").read_text().count("\n") > 3, f"{name}: numbers behind it"
    assert made.page.count("<figcaption>") == len(FIGURES_OF_JETS) + len(FIGURES_OF_SHAPES)
    assert "{" not in "".join(re.findall(r"<figcaption>(.*?)<span", made.page, flags=re.S)), "captions are filled in"


def test_tables_can_be_sorted_and_hold_every_model(made):
    page = Page(made.page)
    sortable = [name for name in page.heads if name]
    assert len(sortable) == 8, "overview, pairs and trainings of both, rejections and multiplicity of the jets"
    for name in sortable:
        dataset = next(key for key in MODELS if name.startswith(key))
        seeds = 2 if name.endswith("runs") else 1
        # The best model is not compared with itself.
        missing = 1 if name.endswith("pairs") else 0
        assert len(page.rows[name]) == seeds * len(MODELS[dataset]) - missing
        for row in page.rows[name]:
            assert len(row) == len(page.heads[name])
    orders = [float(row[1]["data-order"]) for row in page.rows["jetclass-sim-overview"]]
    assert orders == sorted(orders, reverse=True), "best accuracy first"
    for title in TITLES.values():
        assert (title in made.page) == (title in {TITLES[model] for models in MODELS.values() for model in models})


def test_it_says_where_padding_takes_part(made):
    """Only the two Linformers of the shapes are as published; all other trainings leave padding out."""
    trainings = sum(len(models) for models in MODELS.values()) * len(SEEDS)
    assert made.page.count(">takes part, as published<") == 2
    assert made.page.count(">left out<") == trainings - 2


def test_the_page_says_what_the_data_are(made):
    text = re.sub(r"<[^>]+>|\s+", " ", re.sub(r"<script.*?</script>|<style.*?</style>", "", made.page, flags=re.S))
    text = re.sub(r"\s+", " ", text)
    for words in (
        "simulations of ours, JetClass-like, not the public set, 4,800 of them for training", "ModelNet10-like",
        "500 ≤ jet_pt ≤ 1000",
        "−2 ≤ jet_eta".replace("−", "-"), "Some CPU @ 2.5 GHz", "2.13.0", "012345678", "1 min 08 s", "4,800",
    ):  # fmt: skip
        assert words in text, words


def test_text_of_users_is_escaped(made):
    assert "Taggers &amp; friends" in made.page
    assert "&lt;b&gt;not markup&lt;/b&gt;" in made.page
    assert "<b>not markup" not in made.page


def test_figures_alone_are_those_of_the_report(made, tmp_path):
    figure("rejection", made.results, tmp_path / "one")
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["jetclass-sim"], "shapes have no background class"
    for kind in ("pdf", "png", "csv"):
        name = f"jetclass-sim/rejection.{kind}"
        assert filecmp.cmp(tmp_path / "one" / name, made.output / "figures" / name, shallow=False)
    with pytest.raises(JetloomError, match="no figure 'roch'; allowed: roc,"):
        figure("roch", made.results, tmp_path)


def test_several_processes_make_the_same_bytes(made, tmp_path):
    report(made.results, tmp_path, processes=2)
    first, second = (
        {path.relative_to(home): path.read_bytes() for path in home.rglob("*") if path.is_file()}
        for home in (made.output, tmp_path)
    )
    assert first == second and len(first) > 60


def test_a_drawing_process_that_is_killed_ends_in_one_line(made, tmp_path):
    others = set(multiprocessing.active_children())

    def kill():
        while not list((tmp_path / "report").glob(".figures*.partial/*/*.pdf")):
            time.sleep(0.01)
        (set(multiprocessing.active_children()) - others).pop().kill()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with pytest.raises(JetloomError, match="a drawing process was killed"):
        report(made.results, tmp_path / "report", processes=2)
    killer.join()
    assert not set(multiprocessing.active_children()) - others
    assert not (tmp_path / "report/index.html").exists()


def test_threads_that_make_no_sense_are_one_line():
    with pytest.raises(SystemExit, match="--threads: expected at least 1, got 0"):
        main(["report", "--output", "nowhere", "--threads", "0"])


def test_one_model_one_seed_without_cost(made, tmp_path):
    """The least that a report can be made of."""
    less = replace(
        made.results, metrics=made.results.metrics[:1], training=made.results.training[:1], costs=[],
        predictions=made.results.predictions[:1], histories=made.results.histories[:1],
        manifests=made.results.manifests[:1],
    )  # fmt: skip
    report(less, tmp_path / "report")
    text = (tmp_path / "report/index.html").read_text()
    assert "the spread over seeds is unknown" in text
    assert not (tmp_path / "report/figures/jetclass-sim/scaling.png").exists()
    figures(less, tmp_path / "figures")
    assert (tmp_path / "figures/jetclass-sim/roc.pdf").is_file()


@pytest.mark.parametrize(
    ("part", "message"),
    [("training", "no training.json of this run"), ("predictions", "no predictions.parquet of this run"),
     ("histories", "no history.csv beside"), ("manifests", "no manifest is given")],
)  # fmt: skip
def test_a_missing_file_is_one_line(made, tmp_path, part, message):
    with pytest.raises(JetloomError, match=message) as caught:
        report(replace(made.results, **{part: []}), tmp_path / "report")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report").exists()


def test_the_report_imports_neither_torch_nor_mlflow():
    code = "import sys, jetloom.report.build; print({'torch', 'mlflow', 'lightning'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
