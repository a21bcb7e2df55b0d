"""Power laws of fabricated scans."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from jetloom.drawing.style import looks, publication_style, save
from jetloom.report.tables.render import csv_text, markdown
from jetloom.results.collect import collect
from jetloom.statistics.power_law import PowerLaw
from jetloom.tasks.classification.laws import drawing, laws, scans, table
from tests.report.fabricate import fabricate

LAWS = {"wrong": PowerLaw(0.13, 12.0, 0.5), "outside": PowerLaw(0.011, 3.0, 0.6), "loss": PowerLaw(0.37, 20.0, 0.54)}
PARAMETERS = {-2: 46_000, -1: 270_000, 0: 1_400_000, 1: 8_500_000, 2: 48_000_000}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A data set with one real tagger, of three seeds."""
    results = fabricate(tmp_path_factory.mktemp("laws"), {"jetclass-sim": ["part"]}, [1, 2, 3], jets=300)
    (only,) = collect(results).datasets
    return only


def scanned(dataset, sizes, architecture="lgatr_slim", seeds=3):
    """The data set with a tagger for each size, whose figures follow LAWS of the number of parameters."""
    (pattern,) = dataset.entries
    generator = np.random.default_rng(1)
    entries = []
    for size in sizes:
        parameters = PARAMETERS[size]
        results = []
        for result in pattern.results[:seeds]:
            off = 1 + 1e-4 * generator.normal()
            values = result.metrics["values"] | {
                "accuracy": {"value": 1 - LAWS["wrong"](parameters) * off},
                "auc": {"value": 1 - LAWS["outside"](parameters) * off},
                "loss": {"value": LAWS["loss"](parameters) * off},
            }
            training = result.training | {
                "architecture": architecture, "options": {"size": size}, "parameters": parameters,
                "seconds": parameters / 100,
            }  # fmt: skip
            results.append(replace(result, metrics=result.metrics | {"values": values}, training=training))
        cost = pattern.cost | {"parameters": parameters, "flops": 100 * parameters}
        name = f"{architecture}{size}"
        entries.append(replace(pattern, model=name, title=name, results=results, cost=cost))
    return replace(dataset, entries=entries)


@pytest.mark.seconds
def test_five_sizes_are_fitted_against_every_cost(dataset, tmp_path):
    scan = scanned(dataset, [1, -2, 0, 2, -1])
    found = laws(scan, [scan])
    assert [(law.size.name, law.quantity.name) for law in found] == [
        (size, name) for size in ("parameters", "flops", "device_hours") for name in LAWS
    ]
    for law in found:
        assert list(law.points) == sorted(law.points) and len(law.points) == 5
        assert law.remark == ""
        truth = LAWS[law.quantity.name]
        assert law.fitted.law.limit == pytest.approx(truth.limit, rel=5e-3)
        assert law.fitted.law.exponent == pytest.approx(truth.exponent, rel=2e-2)
        # x is a multiple of the number of parameters: the exponent stays, B does not.
        times = {"parameters": 1, "flops": 100, "device_hours": 1 / 360_000}[law.size.name]
        scale = law.fitted.law.scale * times**-law.fitted.law.exponent
        assert np.log(scale) == pytest.approx(np.log(truth.scale), abs=0.2)
    made = table(scan, [scan])
    assert [row[1][0].text for row in made.rows] == ["L-GATr-slim, size"] * 9
    assert " ± " in markdown(made) and "0.13000" in markdown(made)
    assert csv_text(made).splitlines()[0].startswith("model,scan,quantity,against,points,limit,limit_low,limit_high")
    with publication_style():
        shown = drawing(scan, looks([entry.model for entry in scan.entries]), [scan])
        save(shown, tmp_path / "laws")
    assert Image.open(tmp_path / "laws.png").width > 1000
    assert {row[0] for row in shown.rows} == {"point", "law"}
    curve = [row for row in shown.rows if row[:4] == ("law", "L-GATr-slim, size", "wrong", "parameters")]
    for _, _, _, _, x, value, low, high in curve:
        assert value == pytest.approx(float(LAWS["wrong"](x)), rel=1e-3)
        assert low < high


def test_three_sizes_are_drawn_and_not_fitted(dataset):
    scan = scanned(dataset, [-1, 0, 1])
    made = table(scan, [scan])
    assert len(made.rows) == 9
    assert {row[1][-1].text for row in made.rows} == {"not fitted: 3 points, 4 are needed"}
    assert {row[1][4].text for row in made.rows} == {"–"}
    with publication_style():
        shown = drawing(scan, looks([entry.model for entry in scan.entries]), [scan])
    assert {row[0] for row in shown.rows} == {"point"}


def test_one_seed_has_no_interval_and_older_costs_no_matter(dataset):
    scan = scanned(dataset, [-2, -1, 0, 1], seeds=1)
    scan = replace(scan, entries=[replace(entry, cost=None) for entry in scan.entries])
    made = table(scan, [scan])
    assert {row[1][2].order for row in made.rows} == {"parameters", "device_hours"}
    assert {row[1][-1].text for row in made.rows} == {"a point has one seed: no interval"}
    assert all(row[1][4].uncertainties == () and row[1][4].order > 0 for row in made.rows)


def test_what_differs_in_more_than_one_number_is_no_scan(dataset):
    scan = scanned(dataset, [-2, -1, 0, 1])
    changed = [
        replace(entry, results=[
            replace(result, training=result.training | {"options": {"size": place, "mlp_ratio": 2 + place}})
            for result in entry.results
        ])
        for place, entry in enumerate(scan.entries)
    ]  # fmt: skip
    other = replace(scan, entries=changed)
    assert not list(scans(other, [other]))
    assert table(other, [other]) is None and drawing(other, {}, [other]) is None
    # Nor is it what an architecture does by default.
    assert not list(scans(dataset, [dataset]))


def test_training_sets_of_four_sizes(dataset):
    """The law against training jets stands with the largest set."""
    sizes = [1000, 10_000, 100_000, 1_000_000]
    members = []
    for size in sizes:
        manifest = dataset.manifest | {"splits": dataset.manifest["splits"] | {"train": {"jets": size}}}
        entry = scanned(dataset, [0]).entries[0]
        values = {"accuracy": {"value": 1 - LAWS["wrong"](size)}, "auc": {"value": 0.99}, "loss": {"value": 0.4}}
        results = [replace(item, metrics=item.metrics | {"values": values}) for item in entry.results]
        members.append(
            replace(dataset, name=f"set{size}", manifest=manifest, entries=[replace(entry, results=results)])
        )
    assert [len(laws(member, members)) for member in members] == [0, 0, 0, 3]
    wrong, outside, loss = laws(members[-1], members)
    assert list(wrong.points) == sizes
    assert wrong.fitted.law == pytest.approx(LAWS["wrong"], rel=1e-2)
    assert wrong.scan.title == "lgatr_slim0, training jets"
    for flat in (outside, loss):
        assert flat.fitted is None and flat.remark.startswith("no power law")
