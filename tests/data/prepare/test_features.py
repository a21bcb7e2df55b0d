"""Standardisation against the published table, written out, and against weaver-core where values are odd."""

import awkward as ak
import numpy as np
import pytest

from jetloom.data.prepare.features import FEATURE_SETS, RAW_COLUMNS, standardised
from tests.support.data import make_jetclass as build
from tests.support.weaver_inputs import weaver_inputs

NAMES = [item.name for item in FEATURE_SETS["full"]]
BOUNDED = {
    "part_pt_log": (-5, 5),
    "part_e_log": (-5, 5),
    "part_logptrel": (-5, 5),
    "part_logerel": (-5, 5),
    "part_deltaR": (-5, 5),
    "part_d0err": (0, 1),
    "part_dzerr": (0, 1),
}


def full(jet_pt=500.0, jet_energy=1000.0, **changes):
    """The 17 inputs, by name, of one particle that is ordinary but for the changes."""
    one = dict.fromkeys(RAW_COLUMNS["full"], 0.0) | {"part_px": 3.0, "part_py": 4.0, "part_energy": 10.0} | changes
    flat = {name: np.array([value], dtype=np.float32) for name, value in one.items()}
    inputs = standardised("full", flat, np.array([jet_pt]), np.array([jet_energy]))
    assert inputs.shape == (1, 17) and inputs.dtype == np.float32
    return dict(zip(NAMES, inputs[0].tolist(), strict=True))


# What the table of the data configuration gives, for values inside of its bounds.
INSIDE = [
    ({"part_px": 30.0, "part_py": -40.0}, "part_pt_log", (np.log(50) - 1.7) * 0.7),
    ({"part_energy": 0.5}, "part_e_log", (np.log(0.5) - 2.0) * 0.7),
    ({"jet_pt": 800.0}, "part_logptrel", (np.log(5 / 800) + 4.7) * 0.7),
    ({"jet_energy": 640.0}, "part_logerel", (np.log(10 / 640) + 4.7) * 0.7),
    ({"part_deta": -0.3, "part_dphi": 0.4}, "part_deltaR", (0.5 - 0.2) * 4),
    ({}, "part_deltaR", -0.8),
    ({"part_d0val": -0.7}, "part_d0", np.tanh(-0.7)),
    ({"part_dzval": 1.4}, "part_dz", np.tanh(1.4)),
    ({"part_d0err": 0.3}, "part_d0err", 0.3),
    ({"part_dzerr": 0.9}, "part_dzerr", 0.9),
]
BEYOND = [
    ({"part_px": 1e6}, "part_pt_log", 5),
    ({"part_px": 1e-5, "part_py": 0}, "part_pt_log", -5),
    ({"part_energy": 1e6}, "part_e_log", 5),
    ({"part_energy": 1e-5}, "part_e_log", -5),
    ({"jet_pt": 1e-3}, "part_logptrel", 5),
    ({"jet_pt": 1e9}, "part_logptrel", -5),
    ({"jet_energy": 1e-3}, "part_logerel", 5),
    ({"jet_energy": 1e9}, "part_logerel", -5),
    ({"part_deta": 3.0}, "part_deltaR", 5),
    ({"part_d0err": 7.0}, "part_d0err", 1),
    ({"part_d0err": -7.0}, "part_d0err", 0),
    ({"part_dzerr": 7.0}, "part_dzerr", 1),
    ({"part_dzerr": -7.0}, "part_dzerr", 0),
]
AS_THEY_ARE = [name for name in NAMES if name not in BOUNDED and name not in ("part_d0", "part_dz")]


@pytest.mark.parametrize(("changes", "name", "expected"), INSIDE + BEYOND)
def test_the_published_table(changes, name, expected):
    assert full(**changes)[name] == pytest.approx(expected, rel=1e-5)


def test_which_inputs_are_bounded_is_as_published():
    assert {item.name: (item.low, item.high) for item in FEATURE_SETS["full"] if item.low is not None} == BOUNDED
    assert len(AS_THEY_ARE) == 8


@pytest.mark.parametrize("name", AS_THEY_ARE)
@pytest.mark.parametrize("value", [-77.0, 0.5, 77.0])
def test_other_inputs_are_used_as_they_are(name, value):
    assert full(**{name: value})[name] == value


def test_smaller_sets_are_columns_of_the_full_one():
    branches = build.columns([40, 60], seed=4)
    flat = {name: ak.to_numpy(ak.flatten(branches[name])) for name in RAW_COLUMNS["full"]}
    pt, energy = (np.repeat(branches[f"jet_{name}"], [40, 60]) for name in ("pt", "energy"))
    whole = standardised("full", flat, pt, energy)
    for name in ("kin", "kinpid", "kindisp"):
        chosen = [NAMES.index(item.name) for item in FEATURE_SETS[name]]
        few = {column: flat[column] for column in RAW_COLUMNS[name]}
        assert np.array_equal(standardised(name, few, pt, energy), whole[:, chosen])


def test_points_are_their_coordinates():
    points = np.array([[9.0, -8.0, 7.0], [0.1, 0.2, 0.3]], np.float32)
    flat = dict(zip(RAW_COLUMNS["xyz"], points.T, strict=True))
    assert np.array_equal(standardised("xyz", flat, None, None), points)


def test_what_is_not_a_number_is_zero():
    assert full(part_energy=-1.0)["part_e_log"] == 0
    assert full(part_energy=-1.0)["part_logerel"] == 0
    for raw, name in (("part_d0val", "part_d0"), ("part_dzerr", "part_dzerr"), ("part_charge", "part_charge")):
        inputs = full(**{raw: np.nan})
        assert inputs.pop(name) == 0
        assert inputs == {key: value for key, value in full().items() if key != name}


@pytest.mark.seconds
def test_odd_values_are_what_weaver_core_makes_of_them(tmp_path):
    """A particle without momentum has the lowest logarithm, not 0; what is not a number is 0."""
    branches = build.columns([4, 3])
    for name, jet, value in (
        *(("part_px", 0, 0.0), ("part_py", 0, 0.0), ("part_energy", 0, 0.0)),
        *(("part_d0val", 1, np.nan), ("part_dzerr", 1, np.nan), ("part_charge", 1, 77.0), ("part_energy", 1, -1.0)),
    ):
        lists = ak.to_list(branches[name])
        lists[jet][0] = value
        branches[name] = ak.values_astype(ak.Array(lists), "float32")
    path = build.write(tmp_path / "odd.root", branches)
    features, _, mask, _ = weaver_inputs(path, "full", tmp_path)
    flat = {name: ak.to_numpy(ak.flatten(branches[name])) for name in RAW_COLUMNS["full"]}
    pt, energy = (np.repeat(branches[f"jet_{name}"], [4, 3]) for name in ("pt", "energy"))
    ours = standardised("full", flat, pt, energy)
    np.testing.assert_allclose(ours, features[mask], rtol=1e-5, atol=1e-5)
    assert ours[0, :4].tolist() == [-5] * 4
    odd = dict(zip(NAMES, ours[4].tolist(), strict=True))
    assert [odd[name] for name in ("part_d0", "part_dzerr", "part_charge", "part_e_log")] == [0, 0, 77, 0]
