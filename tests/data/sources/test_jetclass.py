"""The reader of JetClass files: what was written is read, and what is wrong is one clear line."""

import awkward as ak
import numpy as np
import pytest
import uproot

from jetloom.config import resolve_dataset
from jetloom.data.prepare.skim import skim
from jetloom.data.sources.jetclass import JET, LABELS, PARTICLE, chunks
from jetloom.errors import JetloomError
from tests.support.data import make_jetclass as build

pytestmark = pytest.mark.seconds

DATASET = resolve_dataset("jetclass-sim", {}, "jetclass-sim")
COUNTS = (5, 1, 40, 12, 7, 3)


def read(path, size=100, dataset=DATASET):
    return ak.concatenate(list(chunks(path, dataset, size)))


@pytest.mark.parametrize("size", [1, 4, 5, 6, 100])
def test_jets_are_those_that_were_written(tmp_path, size):
    branches = build.columns(COUNTS, "Hcc")
    jets = read(build.write(tmp_path / "HToCC_000.root", branches), size)
    assert len(jets) == len(COUNTS)
    for name in [*PARTICLE, *JET]:
        assert ak.array_equal(jets[name], branches[name], dtype_exact=False), name
    assert ak.to_list(jets.label) == [LABELS.index("Hcc")] * len(COUNTS)


def test_chunks_are_no_larger_than_asked_for(tmp_path):
    path = build.write(tmp_path / "a.root", build.columns([3] * 50), cluster=20)
    sizes = [len(chunk) for chunk in chunks(path, DATASET, 8)]
    assert max(sizes) <= 8
    assert sum(sizes) == 50


def test_labels_follow_the_classes_of_the_data_set(tmp_path):
    path = build.make(tmp_path / "a.root", jets=5, label="Tbl")
    for classes, expected in ((["QCD", "Tbl"], 1), (["Tbl", "Hbb"], 0), (["QCD", "Hbb"], -1)):
        few = resolve_dataset("jetclass-sim", {"classes": classes}, "few")
        assert set(ak.to_list(read(path, dataset=few).label)) == {expected}


def with_value(name, jet, value):
    def change(branches):
        if isinstance(branches[name], ak.Array):
            lists = ak.to_list(branches[name])
            lists[jet][0] = value
            branches[name] = ak.values_astype(ak.Array(lists), ak.type(branches[name]).content.content.primitive)
        else:
            branches[name][jet] = value

    return change


def without(*names):
    def change(branches):
        for name in names:
            del branches[name]

    return change


def longer(name):
    def change(branches):
        lists = ak.to_list(branches[name])
        lists[3].append(1.0)
        branches[name] = ak.values_astype(ak.Array(lists), "float32")

    return change


def replaced(name, make):
    def change(branches):
        branches[name] = make(branches[name])

    return change


WRONG = {
    "missing": (without("part_d0val"), "missing branch part_d0val; expected"),
    "several missing": (without("jet_tau3", "label_Hbb"), "missing branch jet_tau3, label_Hbb"),
    "a number for a list": (
        replaced("part_charge", lambda values: np.zeros(len(values), "f4")),
        "branch part_charge is float; expected a list of numbers",
    ),
    "a list for a number": (
        replaced("jet_pt", lambda values: ak.Array([[1.0, 2.0]] * len(values))),
        r"branch jet_pt is double\[\]; expected one number",
    ),
    "unequal lengths": (longer("part_dphi"), "jet 3: part_dphi and part_px have unequal lengths"),
    "nan": (with_value("part_py", 2, np.nan), "jet 2: part_py is not finite"),
    "infinity": (with_value("part_energy", 4, np.inf), "jet 4: part_energy is not finite"),
    "nan of the jet": (with_value("jet_energy", 1, np.nan), "jet 1: jet_energy is not finite"),
    "no label": (with_value("label_QCD", 5, 0), "jet 5: not one of the labels"),
    "two labels": (with_value("label_Tbl", 0, 1), "jet 0: not one of the labels"),
    "half a label": (with_value("label_QCD", 3, 0.5), "jet 3: not one of the labels"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_content_is_one_line_and_leaves_nothing(tmp_path, wrong):
    change, words = WRONG[wrong]
    branches = build.columns(COUNTS)
    change(branches)
    raw = build.write(tmp_path / "bad.root", branches)
    neighbour = tmp_path / "out" / "good.parquet"
    neighbour.parent.mkdir()
    neighbour.write_bytes(b"mine")
    with pytest.raises(JetloomError, match=words) as caught:
        skim("test", DATASET, raw, neighbour.with_name("bad.parquet"), chunk=2)
    assert "\n" not in str(caught.value)
    assert str(raw) in str(caught.value)
    assert list(neighbour.parent.iterdir()) == [neighbour]
    assert neighbour.read_bytes() == b"mine"


def test_the_jet_is_counted_from_the_start_of_the_file(tmp_path):
    branches = build.columns([4] * 50)
    with_value("part_pz", 37, np.nan)(branches)
    with pytest.raises(JetloomError, match="jet 37: part_pz"):
        read(build.write(tmp_path / "a.root", branches, cluster=20), size=7)


def test_zero_particles_are_refused(tmp_path):
    with pytest.raises(JetloomError, match="jet 1: no particles"):
        read(build.write(tmp_path / "a.root", build.columns((4, 0, 3))))


def test_other_trees_are_refused(tmp_path):
    with pytest.raises(JetloomError, match="no tree 'tree'; found: events"):
        read(build.write(tmp_path / "a.root", build.columns(COUNTS), tree="events"))
    with uproot.recreate(tmp_path / "b.root") as file:
        file["hello"] = "world"
        file.mktree("tree", {"jet_pt": "float32"})
    with pytest.raises(JetloomError, match="missing branch part_px"):
        read(tmp_path / "b.root")
    with uproot.recreate(tmp_path / "c.root") as file:
        file["tree"] = np.histogram([1.0, 2.0])
    with pytest.raises(JetloomError, match="'tree' is a TH1D; expected a TTree"):
        read(tmp_path / "c.root")
    with uproot.recreate(tmp_path / "d.root") as file:
        file.mkrntuple("tree", {"jet_pt": np.ones(3)})
    with pytest.raises(JetloomError, match="expected a TTree"):
        read(tmp_path / "d.root")
    with uproot.recreate(tmp_path / "e.root"):
        pass
    with pytest.raises(JetloomError, match="no tree 'tree'; found: nothing"):
        read(tmp_path / "e.root")


def test_a_tree_without_jets_is_refused(tmp_path):
    path = tmp_path / "a.root"
    types = {name: str(ak.type(values).content) if isinstance(values, ak.Array) else values.dtype
             for name, values in build.columns(COUNTS).items()}  # fmt: skip
    with uproot.recreate(path) as file:
        file.mktree("tree", types)
    with pytest.raises(JetloomError, match="the tree holds no jets; fetch or make it again"):
        read(path)


def test_a_missing_file_and_a_directory_are_one_line(tmp_path):
    for path in (tmp_path / "none.root", tmp_path):
        with pytest.raises(JetloomError, match="no such file"):
            read(path)


def test_truncated_anywhere_is_one_line(tmp_path):
    whole = build.make(tmp_path / "whole.root", jets=400).read_bytes()
    path = tmp_path / "cut.root"
    for part in [0, 1, 50, 99, 150, *np.linspace(200, len(whole) - 1, 25).astype(int)]:
        path.write_bytes(whole[:part])
        with pytest.raises(
            JetloomError, match=r"cut\.root: not a readable ROOT file.*fetch or make it again"
        ) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_damaged_bytes_are_found_or_harmless_to_the_program(tmp_path):
    """The format has checksums in its compressed parts only: a flipped bit elsewhere is for the download's checksum."""
    whole = build.make(tmp_path / "whole.root", jets=200).read_bytes()
    generator = np.random.default_rng(5)
    path, found = tmp_path / "bad.root", 0
    for _ in range(40):
        damaged = bytearray(whole)
        for place in generator.integers(0, len(whole), 30):
            damaged[place] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        try:
            read(path)
        except JetloomError as error:
            found += 1
            assert "\n" not in str(error)
    assert found > 20


def test_no_code_is_made_of_what_a_file_says_about_its_classes(tmp_path, monkeypatch):
    path = build.make(tmp_path / "a.root", jets=20)
    with uproot.open(path) as file:
        key = file.key("tree")
        place = key.fSeekKey + key.fKeylen + 4
    content = bytearray(path.read_bytes())
    assert content[place : place + 2] == b"\x00\x14"
    # A version that uproot does not know: it would make Python code of the file's own description.
    content[place : place + 2] = b"\x00\x63"
    path.write_bytes(content)
    compiled = []
    original = uproot.deserialization.compile_class
    monkeypatch.setattr(uproot.deserialization, "compile_class", lambda *given: compiled.append(1) or original(*given))
    with pytest.raises(JetloomError, match="expected a TTree") as caught:
        read(path)
    assert not compiled
    assert "\n" not in str(caught.value)
