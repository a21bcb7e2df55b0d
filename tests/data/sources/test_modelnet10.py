"""The reader of meshes: any OFF file that is one, points on its surface, and one clear line for every other file."""

import awkward as ak
import numpy as np
import pytest
import trimesh

from jetloom.config import resolve_dataset
from jetloom.data.prepare.skim import skim
from jetloom.data.sources.modelnet10 import chunks, cloud, read_off
from jetloom.errors import JetloomError

CUBE_VERTICES = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n0 0 1\n1 0 1\n1 1 1\n0 1 1\n"
CUBE_FACES = "4 0 3 2 1\n4 4 5 6 7\n4 0 1 5 4\n4 1 2 6 5\n4 2 3 7 6\n4 3 0 4 7\n"
CUBE = f"OFF\n8 6 0\n{CUBE_VERTICES}{CUBE_FACES}"
# Two right triangles of areas 0.5 and 4.5, in the planes z = 0 and z = 1.
UNEQUAL = "OFF\n6 2 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1\n0 3 1\n3 0 1 2\n3 3 4 5\n"


def dataset(**changes):
    return resolve_dataset("shapes-sim", {"max_particles": 64, "buckets": [64]} | changes, "shapes")


def directory(root, *texts, name="chair", split="train"):
    path = root / name / split
    path.mkdir(parents=True)
    for number, text in enumerate(texts, 1):
        (path / f"{name}_{number:04d}.off").write_text(text)
    return path


def points_of(jets):
    return np.stack([ak.to_numpy(jets[f"points_{axis}"]) for axis in "xyz"], axis=-1)


def read(raw, size=10, **changes):
    return ak.concatenate(list(chunks(raw, dataset(**changes), size)))


@pytest.mark.parametrize(
    "text",
    [
        CUBE,
        CUBE.replace("OFF\n8", "OFF8"),
        CUBE.replace("OFF\n8", "OFF 8"),
        CUBE.replace("OFF\n", "off\n# a comment\n\n"),
        CUBE.replace("\n", "\r\n"),
        CUBE.replace("8 6 0", "8 6"),
        CUBE.replace("4 0 3 2 1", "  4   0 3 2 1  255 0 0"),
    ],
    ids=["plain", "glued", "same line", "comment", "windows", "no edges", "colour"],
)
def test_every_spelling_of_a_cube_is_the_cube(tmp_path, text):
    path = tmp_path / "cube.off"
    path.write_bytes(text.encode())
    vertices, triangles = read_off(path)
    assert vertices.shape == (8, 3) and triangles.shape == (12, 3)
    mesh = trimesh.Trimesh(vertices, triangles, process=False)
    assert mesh.area == pytest.approx(6)
    assert mesh.volume == pytest.approx(1), "fans keep the orientation of the polygons"


def test_the_reader_agrees_with_trimesh(tmp_path):
    sphere = trimesh.creation.icosphere(subdivisions=3)
    path = tmp_path / "sphere.off"
    sphere.export(path)
    vertices, triangles = read_off(path)
    np.testing.assert_allclose(vertices, sphere.vertices, atol=1e-6)
    assert np.array_equal(triangles, sphere.faces)


def test_points_lie_on_the_surface_by_area(tmp_path):
    path = tmp_path / "two.off"
    path.write_text(UNEQUAL)
    raw = cloud(*read_off(path), 20_000, seed=1).astype(float)
    # Two planes: undo centring and scale by their distance, which is 1.
    planes = np.unique(raw[:, 2].round(4))
    assert len(planes) == 2
    raw = (raw - raw.min(axis=0)) / (planes[1] - planes[0])
    lower, upper = raw[raw[:, 2] < 0.5], raw[raw[:, 2] >= 0.5]
    assert len(upper) / len(raw) == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / 20_000))
    for part, side in ((lower, 1.0), (upper, 3.0)):
        assert (part[:, :2].sum(axis=1) <= side + 0.02).all()
        # Uniform on a right triangle: the mean is at a third of each side, a quarter of the area beyond half a side.
        np.testing.assert_allclose(part[:, :2].mean(axis=0), side / 3, rtol=0.05)
        assert (part[:, 0] > side / 2).mean() == pytest.approx(0.25, abs=0.03)


def test_clouds_are_centred_and_fill_the_unit_sphere(tmp_path):
    moved = CUBE.replace("0 0 0\n1 0 0", "0 0 0\n9 0 0")
    points = points_of(read(directory(tmp_path, CUBE, moved)))
    assert points.shape == (2, 64, 3)
    np.testing.assert_allclose(points.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(points, axis=-1).max(axis=1), 1, rtol=1e-6)


def test_each_mesh_has_its_own_points_whatever_the_chunk(tmp_path):
    raw = directory(tmp_path, CUBE, CUBE, CUBE)
    points = points_of(read(raw))
    assert np.array_equal(points, points_of(read(raw, size=1)))
    assert not np.array_equal(points[0], points[1])
    assert not np.array_equal(points, points_of(read(raw, seed=2)))
    (raw / "chair_0001.off").unlink()
    assert np.array_equal(points[1:], points_of(read(raw)))


def test_the_label_is_the_name_of_the_directory(tmp_path):
    classes = dataset().classes
    assert set(ak.to_list(read(directory(tmp_path, CUBE, name="sofa")).label)) == {classes.index("sofa")}
    assert set(ak.to_list(read(directory(tmp_path, CUBE, name="lamp")).label)) == {-1}


def test_zero_area_faces_get_no_points(tmp_path):
    text = CUBE.replace("8 6 0", "8 8 0") + "3 1 1 1\n3 0 1 1\n"
    assert np.isfinite(points_of(read(directory(tmp_path, text)))).all()


WRONG = {
    "no off": ("PLY\n8 6 0\n", "expected the word OFF"),
    "empty": ("", "expected the word OFF"),
    "header only": ("OFF\n", "damaged"),
    "one count": ("OFF\n8\n", "damaged"),
    "counts below zero": ("OFF\n-1 2 0\n" + CUBE_VERTICES, "damaged"),
    "truncated": (CUBE[:60], "truncated; the header announces 8 vertices and 6 faces"),
    "a word": (CUBE.replace("1 1 0", "1 one 0"), "damaged"),
    "two coordinates": (CUBE.replace("1 1 0\n", "1 1\n"), "damaged"),
    "fewer corners than announced": (CUBE.replace("4 4 5 6 7", "4 4 5 6"), "damaged"),
    "triangles of two corners": ("OFF\n3 3 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1\n3 1 2\n3 2 0\n", "damaged"),
    "vertex too high": (CUBE.replace("4 4 5 6 7", "4 4 5 6 8"), "names vertex 8; there are 8, counted from 0"),
    "vertex below zero": (CUBE.replace("4 4 5 6 7", "4 4 5 6 -1"), "names vertex -1; there are 8"),
    "nan": (CUBE.replace("1 1 1", "1 nan 1"), "vertex 6 is not finite"),
    "infinity": (CUBE.replace("1 1 1", "1 inf 1"), "vertex 6 is not finite"),
    "no faces": (f"OFF\n8 0 0\n{CUBE_VERTICES}", "no surface, every face has zero area"),
    "all of zero area": (f"OFF\n8 1 0\n{CUBE_VERTICES}3 1 1 2\n", "no surface, every face has zero area"),
    "boundless": (CUBE.replace("1 1 1", "1e300 1e300 1"), "a surface too large to measure"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_meshes_are_one_line_and_leave_nothing(tmp_path, wrong):
    text, words = WRONG[wrong]
    raw = directory(tmp_path, CUBE, text)
    output = tmp_path / "skim" / "chair.parquet"
    with pytest.raises(JetloomError, match=words) as caught:
        skim("shapes", dataset(), raw, output)
    assert "\n" not in str(caught.value)
    assert "chair_0002.off" in str(caught.value)
    assert not list(output.parent.iterdir())


def test_directories_without_meshes_are_one_line(tmp_path):
    (tmp_path / "chair" / "train").mkdir(parents=True)
    with pytest.raises(JetloomError, match="no OFF files"):
        read(tmp_path / "chair" / "train")
    with pytest.raises(JetloomError, match="no such directory"):
        read(tmp_path / "chair" / "test")
    (tmp_path / "chair" / "train" / "a.off").write_bytes(b"OFF\n\xff\xfe\x00")
    with pytest.raises(JetloomError, match="not a readable OFF file"):
        read(tmp_path / "chair" / "train")


@pytest.mark.parametrize(
    "text",
    [
        f"OFF\n{10**15} {10**15} 0\n" + CUBE_VERTICES,
        "OFF\n" + "9" * 5000 + " 1 0\n" + CUBE_VERTICES,
        f"OFF\n8 1 0\n{CUBE_VERTICES}{10**15} 0 1 2\n",
    ],
)
def test_enormous_counts_are_one_line(tmp_path, text):
    raw = directory(tmp_path, text)
    with pytest.raises(JetloomError, match=r"truncated|damaged") as caught:
        read(raw)
    assert "\n" not in str(caught.value)


def test_an_enormous_file_is_not_read(tmp_path):
    raw = directory(tmp_path, CUBE)
    with next(raw.glob("*.off")).open("ab") as file:
        file.truncate(10**12)
    with pytest.raises(JetloomError, match="1000000000000 bytes; a mesh of more than"):
        read(raw)
