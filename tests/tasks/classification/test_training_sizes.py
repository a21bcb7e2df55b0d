"""The figure of what more training jets bring."""

import json

import pytest
from PIL import Image

from jetloom.drawing.style import looks, publication_style, save
from jetloom.results.collect import collect
from jetloom.tasks.classification.training_sizes import family, samples
from tests.report.fabricate import fabricate

SIZES = {"jetclass-2k": 2000, "jetclass-20k": 20_000, "jetclass-200k": 200_000}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Three sizes of one data set, and one with other inputs."""
    models = {name: ["part", "salt"] for name in SIZES} | {"jetclass-kin": ["part"]}
    home = tmp_path_factory.mktemp("samples")
    results = fabricate(home, models, [1, 2], jets=1000, based_on=dict.fromkeys(models, "jetclass"))
    for path in results.manifests:
        content, name = json.loads(path.read_text()), path.parent.name
        content["splits"]["train"]["jets"] = SIZES.get(name, 20_000)
        if name == "jetclass-kin":
            content["feature_set"] = "kin"
        path.write_text(json.dumps(content))
    return collect(results).datasets


def test_sizes_of_the_same_set_belong_together(datasets):
    assert [member.name for member in family(datasets[2], datasets)] == list(SIZES)
    assert [member.name for member in family(datasets[3], datasets)] == ["jetclass-kin"]


def test_it_is_drawn_once_with_all_sizes(datasets, tmp_path):
    colors = looks(["part", "salt"])
    with publication_style():
        drawings = [samples(dataset, colors, datasets) for dataset in datasets]
        assert [drawing is not None for drawing in drawings] == [False, False, True, False]
        drawing = drawings[2]
        save(drawing, tmp_path / "samples")
    assert Image.open(tmp_path / "samples.png").width > 1000
    accuracy = [row for row in drawing.rows if row[0] == "accuracy"]
    assert [(row[1], row[2]) for row in accuracy] == [
        (model, size) for model in ("part", "salt") for size in SIZES.values()
    ]
    for row in accuracy:
        dataset = next(item for item in datasets if SIZES.get(item.name) == row[2])
        entry = next(item for item in dataset.entries if item.model == row[1])
        values = [result.metrics["values"]["accuracy"]["value"] for result in entry.results]
        assert row[3] == pytest.approx(sum(values) / 2)
        assert row[4] < row[3] < row[5]
