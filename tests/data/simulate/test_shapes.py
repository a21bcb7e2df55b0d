from pathlib import Path

import numpy
import pytest
import trimesh
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import confusion_matrix

from jetloom.catalogue import cards
from jetloom.data.simulate import primitives, shapes
from jetloom.data.simulate.shapes import CLASSES, make_mesh, simulate, simulate_set
from jetloom.errors import JetloomError

pytestmark = pytest.mark.seconds


def content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*.off"))}


def test_layout_and_determinism(tmp_path):
    simulate_set([], ["train", "val"], 3, 1, tmp_path / "a")
    simulate_set([], ["train", "val"], 3, 1, tmp_path / "b")
    simulate_set([], ["train", "val"], 3, 2, tmp_path / "c")
    files = content(tmp_path / "a")
    assert set(files) == {f"{c}/{s}/{c}_{n:04d}.off" for c in CLASSES for s in ("train", "val") for n in (1, 2, 3)}
    assert files == content(tmp_path / "b")
    assert not set(files.values()) & set(content(tmp_path / "c").values())
    assert len(set(files.values())) == len(files)  # no mesh twice, in particular not in two splits


def test_classes_are_those_of_modelnet10_and_of_the_preset():
    names = ["bathtub", "bed", "chair", "desk", "dresser", "monitor", "night_stand", "sofa", "table", "toilet"]
    assert list(CLASSES) == names == cards.read("datasets", "shapes-sim")["classes"]


def test_more_meshes_begin_with_the_same(tmp_path):
    simulate("chair", "train", 2, 1, tmp_path / "few" / "train")
    simulate("chair", "train", 4, 1, tmp_path / "many" / "train")
    few, many = content(tmp_path / "few"), content(tmp_path / "many")
    assert len(many) == 4 and few.items() <= many.items()


@pytest.mark.parametrize("label", CLASSES)
def test_meshes_are_valid(label, tmp_path):
    simulate(label, "train", 20, 3, tmp_path / "train")
    for path in (tmp_path / "train").iterdir():
        mesh = trimesh.load_mesh(path, process=False)
        assert mesh.faces.shape[1] == 3 and len(mesh.faces) >= 12
        assert mesh.faces.min() >= 0 and mesh.faces.max() < len(mesh.vertices)
        assert numpy.isfinite(mesh.vertices).all()
        assert mesh.area_faces.min() > 0
        sizes = numpy.ptp(mesh.vertices, axis=0)
        assert 0.15 < sizes.max() < 5 and sizes.min() > 0.02


@pytest.mark.parametrize(
    ("mesh", "volume"),
    [
        (primitives.box(1, 2, 3, 2, 3, 4), 24),
        (primitives.cylinder(1, 2, 3, 2.0, 3), 20 / 2 * numpy.sin(2 * numpy.pi / 20) * 4 * 3),
        (
            primitives.ring(0, 0, 1, (2.0, 2.0), 1.0, 3),
            20 / 2 * numpy.sin(2 * numpy.pi / 20) * (4 - 1) * 3,
        ),
    ],
    ids=["box", "cylinder", "ring"],
)
def test_primitives_are_closed_and_outward(mesh, volume):
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert solid.is_watertight and solid.is_winding_consistent
    assert solid.volume == pytest.approx(volume)


def test_rewriting_replaces_the_directory(tmp_path):
    simulate("bed", "train", 3, 1, tmp_path / "train")
    simulate("bed", "train", 1, 1, tmp_path / "train")
    assert list(content(tmp_path)) == ["train/bed_0001.off"]


def test_nothing_half_written(tmp_path, monkeypatch):
    simulate("bed", "train", 2, 1, tmp_path / "train")
    before = content(tmp_path)

    def fail(mesh, path):
        if path.name.endswith("2.off"):
            raise OSError("disk full")
        path.write_text("OFF")

    monkeypatch.setattr(shapes, "write_off", fail)
    with pytest.raises(OSError, match="disk full"):
        simulate("bed", "train", 3, 9, tmp_path / "train")
    assert content(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "lamp"}, "unknown class 'lamp'; allowed: bathtub, bed"),
        ({"split": "../x"}, "split '../x': expected a plain word"),
        ({"meshes": 0}, "meshes: expected 1 or more"),
        ({"seed": -1}, "seed: expected 0 or more"),
    ],
)
def test_mistakes(change, message, tmp_path):
    arguments = {"label": "bed", "split": "train", "meshes": 1, "seed": 1, "output": tmp_path / "a"} | change
    with pytest.raises(JetloomError, match=message):
        simulate(**arguments)
    assert not list(tmp_path.iterdir())


def _descriptors(label: str, split: str, meshes: int) -> list[numpy.ndarray]:
    """Histograms of height, radius and of a coarse grid of points on the surface."""
    rows = []
    for number in range(1, meshes + 1):
        mesh = make_mesh(label, split, 1, number)
        points = trimesh.sample.sample_surface(trimesh.Trimesh(*mesh, process=False), 512, seed=number)[0]
        points = points - points.mean(axis=0)
        points /= numpy.linalg.norm(points, axis=1).max()
        radius = numpy.hypot(points[:, 0], points[:, 1])
        grid = numpy.histogramdd(points, bins=4, range=[(-1, 1)] * 3)[0].ravel()
        height = numpy.histogram(points[:, 2], 16, (-1, 1))[0]
        rows.append(numpy.concatenate([height, numpy.histogram(radius, 12, (0, 1))[0], grid]))
    return rows


def test_classes_can_be_learnt_but_overlap():
    """Good but not perfect, and confused where ModelNet10 is: dressers with night stands, desks with tables."""
    data = {
        split: (
            numpy.array([row for label in CLASSES for row in _descriptors(label, split, meshes)]),
            numpy.repeat(numpy.arange(len(CLASSES)), meshes),
        )
        for split, meshes in {"train": 60, "test": 40}.items()
    }
    forest = RandomForestClassifier(200, random_state=0).fit(*data["train"])
    points, truth = data["test"]
    confusion = confusion_matrix(truth, forest.predict(points))
    accuracy = confusion.trace() / confusion.sum()
    assert 0.80 < accuracy < 0.97
    assert (confusion.diagonal() / confusion.sum(axis=1)).min() > 0.5
    pairs = confusion + confusion.T
    for first, second in (("dresser", "night_stand"), ("desk", "table")):
        assert pairs[CLASSES.index(first), CLASSES.index(second)] > 0
