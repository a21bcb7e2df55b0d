"""What the report reads."""

from jetloom.report.collect import collect, titled


def test_titles_are_those_of_the_configuration_now(made) -> None:
    collection = collect(made.results)
    config = {"models": ["part"], "per_model": {"linformer": {"title": "Ours"}, "salt": {"based_on": "pointnet"}}}
    titles = {entry.model: entry.title for dataset in titled(collection, config).datasets for entry in dataset.entries}
    assert titles["linformer"] == "Ours"
    assert titles["salt"] == titles["pointnet"] == "PointNet"
    assert titles["part"] == "ParT"
    assert collection.datasets[0].entries[1].title == "Linformer"
