"""The reader of the Top tagging reference against values that pandas and the builder give on their own."""

import awkward as ak
import h5py
import numpy as np
import pandas as pd
import pytest

from jetloom.config import resolve_dataset
from jetloom.data.sources.top_tagging import chunks
from jetloom.errors import JetloomError

from .. import make_top_tagging as build
from ..make_jets import momenta, particles

DATASET = resolve_dataset("top_tagging", {}, "top_tagging")
COUNTS, LABELS = (20, 30, 3, 45, 200), (0, 1, 0, 1, 1)


def read(path, size=100, dataset=DATASET):
    return ak.concatenate(list(chunks(path, dataset, size)))


@pytest.fixture
def raw(tmp_path):
    return build.make(tmp_path / "train.h5", COUNTS, LABELS)


def test_jets_are_those_that_were_written(raw):
    jets = read(raw)
    assert ak.to_list(jets.jet_nparticles) == list(COUNTS)
    assert ak.to_list(jets.label) == list(LABELS)
    for jet, original in zip(jets, particles(COUNTS), strict=True):
        original = original[np.argsort(-original[:, 0])]
        vectors = momenta(original)
        for position, name in enumerate(("px", "py", "pz", "energy")):
            np.testing.assert_allclose(jet[f"part_{name}"], vectors[:, position], rtol=1e-5, atol=1e-4)
        px, py, pz, energy = vectors.sum(axis=0)
        assert jet.jet_pt == pytest.approx(np.hypot(px, py), rel=1e-5)
        assert jet.jet_energy == pytest.approx(energy, rel=1e-5)
        eta = np.arctanh(pz / np.sqrt(px**2 + py**2 + pz**2))
        assert jet.jet_eta == pytest.approx(eta, abs=1e-5)
        np.testing.assert_allclose(jet.part_deta, np.sign(eta) * (original[:, 1] - eta), atol=1e-4)
        turn = np.angle(np.exp(1j * (original[:, 2] - np.arctan2(py, px))))
        np.testing.assert_allclose(jet.part_dphi, turn, atol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 4, 5, 6])
def test_no_jet_is_lost_at_the_end_whatever_the_chunk(raw, size):
    jets = read(raw, size)
    assert ak.to_list(jets.jet_nparticles) == list(COUNTS)
    assert ak.all(jets.part_px == read(raw).part_px)


@pytest.mark.parametrize("order", ["text", "reversed"])
def test_columns_are_taken_by_number_whatever_their_order(tmp_path, raw, order):
    table = build.frame(COUNTS, LABELS)
    # As text PX_10 comes before PX_2: whoever pairs columns so mixes the particles.
    names = sorted(table.columns) if order == "text" else list(table.columns)[::-1]
    other = build.write(tmp_path / "other.h5", table[names])
    assert ak.all(read(other).part_px == read(raw).part_px)
    assert ak.all(read(other).part_energy == read(raw).part_energy)


def test_particles_fall_in_pt(tmp_path):
    table = build.frame(COUNTS, LABELS)
    shuffled = np.random.default_rng(3).permutation(200)
    names = {f"{c}_{i}": f"{c}_{shuffled[i]}" for c in ("E", "PX", "PY", "PZ") for i in range(200)}
    jets = read(build.write(tmp_path / "a.h5", table.rename(columns=names)))
    pt = np.hypot(jets.part_px, jets.part_py)
    assert ak.all(pt[:, :-1] >= pt[:, 1:])
    assert ak.to_list(jets.jet_nparticles) == list(COUNTS)


def test_a_class_that_is_left_out_has_no_label(raw):
    dataset = DATASET.model_copy(update={"classes": ["top", "other"]})
    assert ak.to_list(read(raw, dataset=dataset).label) == [-1, 0, -1, 0, 0]


def changed(tmp_path, change):
    table = build.frame(COUNTS, LABELS)
    table = change(table)
    return build.write(tmp_path / "bad.h5", table)


def set_cell(column, row, value):
    def change(table):
        table.loc[row, column] = value
        return table

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_cell("PX_3", 1, np.nan), "jet 1: a four-vector is not finite"),
        (set_cell("E_0", 4, np.inf), "jet 4: a four-vector is not finite"),
        (set_cell("E_0", 2, np.nan), "jet 2: a four-vector is not finite"),
        (set_cell([f"E_{i}" for i in range(200)], 2, 0.0), "jet 2: no particles"),
        (set_cell("is_signal_new", 3, 2), "jet 3: is_signal_new is neither 0 nor 1"),
        (lambda table: table.drop(columns="PY_7"), "missing column PY_7"),
        (lambda table: table.drop(columns="is_signal_new"), "missing column is_signal_new"),
    ],
)
def test_wrong_values_are_one_line(tmp_path, change, words):
    with pytest.raises(JetloomError, match=words) as caught:
        read(changed(tmp_path, change), size=2)
    assert "\n" not in str(caught.value)
    assert "bad.h5" in str(caught.value)


def test_wrong_files_are_one_line(tmp_path, raw):
    cases = {
        "key 'table'; found: events": build.write(tmp_path / "key.h5", build.frame((2,), (0,)), key="events"),
        "can be read in pieces": build.write(tmp_path / "fixed.h5", build.frame((2,), (0,)), format="fixed"),
        "no such file": tmp_path / "none.h5",
    }
    with pd.HDFStore(build.write(tmp_path / "zero.h5", build.frame((2,), (0,)))) as store:
        store.remove("table", start=0, stop=1, where="index >= 0")
    cases["holds no jets"] = tmp_path / "zero.h5"
    for name, content in {"cut.h5": raw.read_bytes()[:20_000], "noise.h5": b"x" * 9999, "empty.h5": b""}.items():
        (tmp_path / name).write_bytes(content)
        cases |= {f"{name}: not a readable HDF5": tmp_path / name}
    for words, path in cases.items():
        with pytest.raises(JetloomError, match=words) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_an_attribute_that_would_run_code_is_refused_unread(tmp_path, raw):
    marker = tmp_path / "ran"
    # What pickle.dumps gives for an object whose __reduce__ calls os.mkdir.
    code = f"cos\nmkdir\n(V{marker}\ntR.".encode()
    with h5py.File(raw, "a") as file:
        file["table"].attrs["info"] = np.bytes_(code)
    with pytest.raises(JetloomError, match="attribute info would run code"):
        read(raw)
    assert not marker.exists()
