"""The reader of the EnergyFlow set against the arrays that were written."""

import io
import tracemalloc
import zipfile

import awkward as ak
import numpy as np
import pytest

from jetloom.config import resolve_dataset
from jetloom.data.sources.quark_gluon import chunks
from jetloom.errors import JetloomError
from tests.support.data import make_quark_gluon as build

DATASET = resolve_dataset("quark_gluon", {}, "quark_gluon")
COUNTS, LABELS = (20, 30, 3, 45, 139), (0, 1, 0, 1, 1)


def read(path, size=100, dataset=DATASET):
    return ak.concatenate(list(chunks(path, dataset, size)))


@pytest.fixture
def raw(tmp_path):
    return build.make(tmp_path / "QG_jets.npz", COUNTS, LABELS)


def test_jets_are_those_that_were_written(raw):
    jets = read(raw)
    values, _ = build.arrays(COUNTS, LABELS)
    assert ak.to_list(jets.label) == list(LABELS)
    assert ak.to_list(jets.jet_nparticles) == list(COUNTS)
    # Standardised before it is sorted, (pT - 7) / 5.56, the soft half of the particles would come after the padding.
    assert (values[..., 0] < 7).sum() > 100
    for jet, row, count in zip(jets, values, COUNTS, strict=True):
        part = row[:count][np.argsort(-row[:count, 0])]
        pt, eta, phi, _ = part.T
        np.testing.assert_allclose(np.hypot(jet.part_px, jet.part_py), pt, rtol=1e-5)
        np.testing.assert_allclose(jet.part_px, pt * np.cos(phi), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(np.arcsinh(jet.part_pz / pt), eta, atol=1e-5)
        mass = np.asarray(jet.part_energy, float) ** 2 - (pt * np.cosh(eta)) ** 2
        np.testing.assert_allclose(mass, 0, atol=1e-4 * (pt * np.cosh(eta)).max() ** 2)
        assert abs(np.average(jet.part_dphi, weights=pt)) < 0.1
        assert np.all(np.abs(jet.part_dphi) <= np.pi)


def test_identities_are_those_of_the_particle_data_group(tmp_path):
    # id: charge, charged hadron, neutral hadron, photon, electron, muon
    table = {
        22: (0, 0, 0, 1, 0, 0),
        211: (1, 1, 0, 0, 0, 0),
        -321: (-1, 1, 0, 0, 0, 0),
        2212: (1, 1, 0, 0, 0, 0),
        130: (0, 0, 1, 0, 0, 0),
        -2112: (0, 0, 1, 0, 0, 0),
        11: (-1, 0, 0, 0, 1, 0),
        -13: (1, 0, 0, 0, 0, 1),
    }
    values = np.zeros((1, 10, 4))
    values[0, : len(table), 0] = np.arange(100, 100 - len(table), -1)
    values[0, : len(table), 3] = list(table)
    np.savez(tmp_path / "a.npz", X=values, y=np.ones(1))
    [jet] = read(tmp_path / "a.npz")
    names = ["charge", "isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon"]
    assert list(zip(*(ak.to_list(jet[f"part_{name}"]) for name in names), strict=True)) == list(table.values())


@pytest.mark.parametrize("size", [1, 2, 4, 5, 6])
def test_no_jet_is_lost_at_the_end_whatever_the_chunk(raw, size):
    assert ak.to_list(read(raw, size).jet_nparticles) == list(COUNTS)
    assert ak.all(read(raw, size).part_px == read(raw).part_px)


def test_a_hole_in_the_padding_is_no_particle(tmp_path):
    values, target = build.arrays((5,), (1,))
    values = np.concatenate([np.zeros((1, 2, 4)), values], axis=1)
    np.savez(tmp_path / "a.npz", X=values, y=target)
    [jet] = read(tmp_path / "a.npz")
    assert jet.jet_nparticles == 5


def saved(path, x, y, **more):
    np.savez_compressed(path, X=x, y=y, **more)
    return path


def with_value(row, slot, column, value):
    values, target = build.arrays(COUNTS, LABELS)
    values[row, slot, column] = value
    return values, target


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (with_value(1, 2, 0, np.nan), "jet 1: a four-vector is not finite"),
        (with_value(4, 2, 1, np.inf), "jet 4: a four-vector is not finite"),
        (with_value(4, 2, 3, np.nan), "jet 4: a PDG id is not finite"),
        (with_value(2, slice(None), 0, 0.0), "jet 2: no particles"),
        ((build.arrays(COUNTS, LABELS)[0], np.array([0, 1, 0, 1, 2])), "jet 4: y is neither 0 nor 1"),
        ((np.zeros((0, 3, 4)), np.zeros(0)), "no jets"),
        ((np.zeros((3, 4)), np.zeros(3)), r"expected \(n, M, 4\)"),
        ((np.ones((3, 2, 4)), np.zeros(2)), r"expected \(n, M, 4\) and \(n,\)"),
        ((np.array([[["a"] * 4]]), np.zeros(1)), "X is <U1"),
    ],
)
def test_wrong_arrays_are_one_line(tmp_path, arrays, words):
    with pytest.raises(JetloomError, match=words) as caught:
        read(saved(tmp_path / "bad.npz", *arrays), size=2)
    assert "\n" not in str(caught.value)
    assert "bad.npz" in str(caught.value)


class Bomb:
    """An object whose unpickling is seen."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        import os

        return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", ["X", "y"])
def test_pickled_objects_are_refused_unread(tmp_path, name):
    bomb = np.empty(2, object)
    bomb[:] = [Bomb(tmp_path / "ran"), 1]
    arrays = {"X": np.ones((2, 3, 4)), "y": np.zeros(2)} | {name: bomb}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(JetloomError, match=f"{name} holds pickled objects"):
        read(tmp_path / "a.npz")
    assert not (tmp_path / "ran").exists()


def test_wrong_files_are_one_line(tmp_path, raw):
    whole = raw.read_bytes()
    contents = {"cut.npz": whole[: len(whole) // 2], "noise.npz": b"x" * 9999, "empty.npz": b""}
    contents["flipped.npz"] = whole[:3000] + bytes(200) + whole[3200:]
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(JetloomError, match=f"{name}: not a readable NPZ") as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)
    np.savez(tmp_path / "other.npz", events=np.ones(3))
    with pytest.raises(JetloomError, match="no array 'X'; found: events"):
        read(tmp_path / "other.npz")
    with pytest.raises(JetloomError, match="no such file"):
        read(tmp_path / "none.npz")


def test_an_array_shorter_than_it_says_is_truncated(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.ones((5, 3, 4)))
    target = io.BytesIO()
    np.save(target, np.ones(5))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("X.npy", buffer.getvalue()[:-8])
        archive.writestr("y.npy", target.getvalue())
    with pytest.raises(JetloomError, match="truncated or damaged"):
        read(tmp_path / "a.npz")


def packed(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def npy(shape, content=b"", version=1):
    """A header that announces what it likes, and what follows."""
    text = repr({"descr": "<f8", "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 * version, "little") + text + content


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (npy((10**12, 3, 4)), npy((10**12,)), "truncated or damaged"),
        (npy((2, 10**9, 4)), npy((2,), bytes(16)), "one jet has 32000000000 bytes; expected at most"),
        (npy((-1, 3, 4), bytes(10**7)), npy((-1,), bytes(10**7)), "X has the shape"),
        (npy((2, 3, 4), bytes(192)), npy((10**12,), bytes(10**7)), r"expected \(n, M, 4\) and \(n,\)"),
        (b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little") + b" " * 10**7, npy((2,)), "X is of version"),
        (npy((2, 3, 4), bytes(192), 2), npy((2,), bytes(16)), "X is of version"),
    ],
)
def test_what_an_array_announces_is_not_allocated(tmp_path, x, y, words):
    path = packed(tmp_path / "bad.npz", X=x, y=y)
    tracemalloc.start()
    try:
        with pytest.raises(JetloomError, match=words) as caught:
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 3e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


def test_an_encrypted_file_is_one_line(tmp_path, raw):
    content = bytearray(raw.read_bytes())
    for sign, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        begin = -1
        while (begin := content.find(sign, begin + 1)) >= 0:
            content[begin + place] |= 1
    raw.write_bytes(content)
    with pytest.raises(JetloomError, match="not a readable NPZ") as caught:
        read(raw)
    assert "\n" not in str(caught.value)
