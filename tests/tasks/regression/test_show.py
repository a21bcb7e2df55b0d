"""What the page shows of a regression, alone, beside taggers, and as the second task of one."""

import csv
import json
import re
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import norm

from jetloom.drawing.style import looks
from jetloom.report.build import figure, report
from jetloom.report.compare import compare
from jetloom.report.record.provenance import write
from jetloom.report.shows import read, show_of
from jetloom.results.inputs import Inputs
from jetloom.results.over_seeds import over_seeds
from jetloom.tasks.regression.figures import resolution_vs_pt, response
from jetloom.tasks.regression.response import bias, bins, difference, resolution, responses
from tests.report.fabricate import fabricate

from .fabricate import EDGES, OFFSET, TARGET, TASK, WIDTH, learn, regressions

pytestmark = pytest.mark.seconds

NAME = f"jetclass-sim-{TARGET}"


def together(first: Inputs, second: Inputs) -> Inputs:
    """The files of both."""
    roles = [item.name for item in fields(Inputs) if item.name in first.results]
    return replace(first, **{role: [*getattr(first, role), *getattr(second, role)] for role in roles})


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Inputs:
    return regressions(tmp_path_factory.mktemp("regressions"), ["linformer", "part", "salt"], [1, 2])


@pytest.fixture(scope="module")
def dataset(given):
    (dataset,) = read(given).datasets
    return dataset


def test_figures_of_merit_of_a_gaussian_response_are_its_own():
    generator = np.random.default_rng(1)
    sample = generator.normal(1.02, 0.08, 400_000)
    # The central 68 % of a Gaussian end at 0.9945 sigma.
    expected = 0.08 * norm.ppf(0.84)
    assert resolution(sample) == pytest.approx(expected, rel=0.005)
    assert bias(sample) == pytest.approx(0.02, abs=0.0006)
    exact = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    assert (bias(exact), resolution(exact)) == (1.0, pytest.approx((3.36 - 0.64) / 2))


def test_the_responses_are_those_of_the_file(dataset):
    for entry in dataset.entries:
        for result in entry.results:
            values = responses(result, TARGET)
            assert resolution(values) == pytest.approx(result.metrics["values"]["resolution"]["value"], rel=1e-4)
            assert bias(values) == pytest.approx(OFFSET.get(entry.model, 0.0), abs=0.01)
            assert not {f"predicted_{TARGET}", f"true_{TARGET}"} & set(result.predictions.observers)


def test_the_narrowest_response_comes_first(dataset):
    show = show_of(dataset.task.name)
    assert [entry.model for entry in show.ranked(dataset)] == ["part", "salt", "linformer"]
    assert dataset.name == NAME
    assert show.heading(dataset).endswith("regression of the soft-drop mass")


def test_a_difference_on_the_same_jets_is_known_better_than_either(dataset):
    part, linformer = (next(item for item in dataset.entries if item.model == name) for name in ("part", "linformer"))
    found = difference("resolution", resolution, TARGET, linformer, part)
    assert found.value == pytest.approx(0.04 * norm.ppf(0.84), abs=0.005)
    # 0.6 of the noise is common to both; that of two models apart would be the root of the sum of squares.
    apart = np.hypot(over_seeds(part, "resolution").combined, over_seeds(linformer, "resolution").combined)
    assert 0 < found.uncertainty < 1.2 * apart
    assert difference("resolution", resolution, TARGET, part, part)[0] == 0
    assert difference("resolution", resolution, TARGET, part, linformer).value == -found.value


def test_the_uncertainty_of_a_difference_is_its_scatter_over_samples(tmp_path):
    """The standard error from parts of one sample, against many samples of the same size."""
    generator = np.random.default_rng(3)

    def sample():
        common = generator.normal(size=4000)
        return [1 + width * (0.6 * common + 0.8 * generator.normal(size=4000)) for width in (0.08, 0.12)]

    differences = [resolution(first) - resolution(second) for first, second in (sample() for _ in range(300))]
    first, second = sample()
    parts = [[resolution(one[start::50]) for start in range(50)] for one in (first, second)]
    estimated = np.std(np.subtract(*parts), ddof=1) / np.sqrt(50)
    # 50 parts know their scatter to 10 %, 300 samples to 4 %; quantiles of 80 jets are a little wider.
    assert estimated == pytest.approx(np.std(differences), rel=0.3)


def test_bins_hold_the_mean_over_seeds(dataset):
    entry = dataset.entries[0]
    for place, item in enumerate(bins(entry, "resolution")):
        stored = [result.metrics["bins"]["resolution"][place]["value"] for result in entry.results]
        assert (item.low, item.high) == (EDGES[place], EDGES[place + 1])
        assert item.value.value == pytest.approx(np.mean(stored))
        assert item.value.spread == pytest.approx(np.std(stored, ddof=1))


def test_the_numbers_behind_the_pictures(dataset):
    colors = looks([entry.model for entry in dataset.entries])
    distribution = response(dataset, colors)
    for model in WIDTH.keys() & colors.keys():
        assert sum(row[3] for row in distribution.rows if row[0] == model) == pytest.approx(1)
    rows = [row for row in resolution_vs_pt(dataset, colors).rows if row[0] == "salt"]
    assert [row[1:3] for row in rows] == list(pairwise(EDGES))
    assert sum(row[3] for row in rows) == dataset.jets
    for row in rows:
        assert row[5] < row[4] < row[6]
        assert row[4] == pytest.approx(WIDTH["salt"], rel=0.2)


def test_the_report_of_regressions_alone(given, tmp_path):
    tables = report(given, tmp_path / "report")
    text = (tmp_path / "report/index.html").read_text()
    made = {path.name for path in (tmp_path / "report/figures" / NAME).glob("*.png")}
    own = {"response.png", "response_vs_pt.png", "resolution_vs_pt.png", "resolution_vs_cost.png"}
    assert own | {"scaling.png", "throughput.png", "training.png", "observables.png"} <= made
    assert not made & {"roc.png", "confusion.png", "accuracy_vs_cost.png"}
    assert "ParT resolves the soft-drop mass best" in text
    assert "accura" not in re.sub(r"<style>.*?</style>|<script>.*?</script>", "", text, flags=re.S).lower()
    captions = re.findall(r"<figcaption>(.*?)<span", text, flags=re.S)
    assert "{" not in "".join(captions)
    with (tmp_path / f"report/tables/{NAME}.csv").open() as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    for model, row in rows.items():
        assert float(row[f"{TARGET}_resolution"]) == pytest.approx(WIDTH[model], rel=0.05)
        assert float(row[f"{TARGET}_bias"]) == pytest.approx(OFFSET.get(model, 0.0), abs=0.006)
        assert float(row[f"{TARGET}_resolution_low"]) < float(row[f"{TARGET}_resolution_high"])
        assert float(row[f"{TARGET}_resolution_seed_spread"]) > 0
    write(tmp_path / "provenance.json", given, tmp_path / "report", tables)
    record = json.loads((tmp_path / "provenance.json").read_text())
    assert f"cell:{NAME}/1/{TARGET}_resolution" in record["entity"]
    figure("response", given, tmp_path / "one")
    assert (tmp_path / "one" / NAME / "response.pdf").is_file()


def test_taggers_and_regressions_of_a_data_set_have_a_section_each(given, tmp_path):
    taggers = fabricate(tmp_path / "taggers", {"jetclass-sim": ["transformer"]}, [1], jets=4000)
    both = together(taggers, given)
    assert [item.name for item in read(both).datasets] == ["jetclass-sim", NAME]
    report(both, tmp_path / "report")
    text = (tmp_path / "report/index.html").read_text()
    assert f'<section id="{NAME}">' in text and '<section id="jetclass-sim">' in text
    with (tmp_path / "report/tables/runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    for row in rows:
        assert bool(row["accuracy"]) == (row["model"] == "transformer")
        assert bool(row[f"{TARGET}_resolution"]) == (row["model"] != "transformer")


def test_the_second_task_of_a_tagger_is_in_the_section_of_that_task(given, tmp_path):
    taggers = fabricate(tmp_path / "taggers", {"jetclass-sim": ["transformer"]}, [1, 2], jets=4000)
    alone = report(taggers, tmp_path / "alone")
    for metrics, predictions in zip(taggers.metrics, taggers.predictions, strict=True):
        content = json.loads(metrics.read_text())
        also = {"task": TASK, **learn(predictions, content["run"], keep=True)}
        metrics.write_text(json.dumps(content | {"task": {"name": "classification"}, "also": [also]}))
    both = together(taggers, given)
    collection = read(both)
    assert [[entry.model for entry in item.entries] for item in collection.datasets] == [
        ["transformer"], ["transformer", "linformer", "part", "salt"],
    ]  # fmt: skip
    assert len(collection.results) == 10 and len(collection.trainings) == 8
    tables = report(both, tmp_path / "report")
    with (tmp_path / "report/tables/runs.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "transformer"]
    assert len(rows) == 2
    assert all(row["accuracy"] and row[f"{TARGET}_resolution"] for row in rows)
    assert tables["jetclass-sim-overview"].values == alone["jetclass-sim-overview"].values
    assert "8 trainings of 4 architectures" in (tmp_path / "report/index.html").read_text()


def test_experiments_are_compared_by_resolution(given, tmp_path):
    homes = []
    for name, seed in (("first", 1), ("second", 2)):
        home = tmp_path / name
        results = regressions(home, ["part"], [seed])
        (home / "report").mkdir()
        write(home / "provenance.json", results, home / "report", {})
        homes.append(home)
    text = compare(homes, None)
    head = next(line for line in text.splitlines() if line.startswith("| Model"))
    assert head.split(" | ")[:4] == ["| Model", "Experiment", "Resolution", "Bias"]
    line = next(line for line in text.splitlines() if "second − first" in line)
    assert re.search(r"\| [+−]\d+\.\d \| [+−]\d+\.\d \|", line)
