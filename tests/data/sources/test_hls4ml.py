"""The reader of the hls4ml jets against the arrays that were written."""

import awkward as ak
import h5py
import numpy as np
import pytest

from jetloom.config import resolve_dataset
from jetloom.data.sources.hls4ml import chunks
from jetloom.errors import JetloomError
from tests.support.data import make_hls4ml as build

DATASET = resolve_dataset("hls4ml", {}, "hls4ml")
COUNTS, LABELS = (20, 30, 3, 45, 150), (0, 1, 2, 3, 4)


def read(path, size=100, dataset=DATASET):
    return ak.concatenate(list(chunks(path, dataset, size)))


def test_jets_are_those_that_were_written(tmp_path):
    jets = read(build.make(tmp_path / "train", files=(3,)))
    values, rows = build.arrays(COUNTS, LABELS, seed=4)
    assert ak.to_list(jets.label) == list(LABELS)
    assert ak.to_list(jets.jet_nparticles) == list(COUNTS)
    for jet, part, row, count in zip(jets, values, rows, COUNTS, strict=True):
        for name, column in {"px": 0, "py": 1, "pz": 2, "energy": 3, "deta": 8, "dphi": 11}.items():
            np.testing.assert_allclose(jet[f"part_{name}"], part[:count, column], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose([jet.jet_pt, jet.jet_eta], row[1:3], rtol=1e-5)
        total = part[:, :4].sum(axis=0)
        assert jet.jet_energy == pytest.approx(total[3], rel=1e-4)
        assert np.exp(1j * jet.jet_phi) == pytest.approx(np.exp(1j * np.arctan2(total[1], total[0])), abs=1e-4)


def test_files_are_read_in_the_order_of_their_numbers(tmp_path):
    for first in (0, 90000, 100000, 20000):
        values, jets = build.arrays((first // 10000 + 1,), (0,))
        build.write(tmp_path / f"jetImage_0_150p_{first}_{first + 10000}.h5", values, jets)
    assert ak.to_list(read(tmp_path).jet_nparticles) == [1, 3, 10, 11]


@pytest.mark.parametrize("size", [1, 4, 5, 6])
def test_no_jet_of_any_file_is_lost_at_the_end(tmp_path, size):
    build.make(tmp_path, files=(0, 1))
    jets = read(tmp_path, size)
    assert ak.to_list(jets.jet_nparticles) == [*COUNTS, *COUNTS]


def test_columns_are_found_by_name(tmp_path):
    path = build.make(tmp_path, files=(0,)) / "jetImage_0_150p_0_10000.h5"
    before = read(path)
    with h5py.File(path, "a") as file:
        jets, names = file["jets"][:], file["jetFeatureNames"][:]
        del file["jets"], file["jetFeatureNames"]
        file["jets"], file["jetFeatureNames"] = jets[:, ::-1], names[::-1]
    assert ak.to_list(read(path).label) == ak.to_list(before.label)
    assert ak.all(read(path).jet_pt == before.jet_pt)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda values, jets: values.__setitem__((1, 2, 0), np.nan), "jet 1: a four-vector is not finite"),
        (lambda values, jets: values.__setitem__((1, 2, 8), np.inf), "jet 1: part_deta is not finite"),
        (lambda values, jets: values.__setitem__(3, 0), "jet 3: no particles"),
        (lambda values, jets: jets.__setitem__((2, slice(53, 58)), 1), "jet 2: not exactly one of j_g"),
        (lambda values, jets: jets.__setitem__((2, slice(53, 58)), 0), "jet 2: not exactly one of j_g"),
        (lambda values, jets: jets.__setitem__((4, 1), np.nan), "jet 4: the jet is not finite"),
    ],
)
def test_wrong_values_are_one_line(tmp_path, change, words):
    values, jets = build.arrays(COUNTS, LABELS)
    change(values, jets)
    with pytest.raises(JetloomError, match=words) as caught:
        read(build.write(tmp_path / "bad.h5", values, jets), size=3)
    assert "\n" not in str(caught.value)
    assert "bad.h5" in str(caught.value)


@pytest.mark.parametrize("key", ["jetConstituentList", "jets", "particleFeatureNames", "jetFeatureNames"])
def test_a_missing_key_is_named_with_those_that_are_there(tmp_path, key):
    path = build.make(tmp_path, files=(0,)) / "jetImage_0_150p_0_10000.h5"
    with h5py.File(path, "a") as file:
        del file[key]
    with pytest.raises(JetloomError, match=f"no key '{key}'; found: "):
        read(path)


def test_wrong_files_are_one_line(tmp_path):
    path = build.make(tmp_path / "good", files=(0,)) / "jetImage_0_150p_0_10000.h5"
    whole = path.read_bytes()
    for name, content in {"cut.h5": whole[: len(whole) // 2], "noise.h5": b"x" * 9999, "empty.h5": b""}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(JetloomError, match=f"{name}: not a readable HDF5") as caught:
            read(tmp_path / name)
        assert "\n" not in str(caught.value)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(JetloomError, match="no HDF5 files"):
        read(tmp_path / "nothing")
    values, jets = build.arrays(COUNTS, LABELS)
    with pytest.raises(JetloomError, match="4 lists of particles for 5 jets"):
        read(build.write(tmp_path / "fewer.h5", values[:4], jets))
    with pytest.raises(JetloomError, match="no column j1_e, j1_pt"):
        read(build.write(tmp_path / "narrow.h5", values[..., :3], jets))


def replaced(tmp_path, key, make):
    path = build.make(tmp_path, files=(0,)) / "jetImage_0_150p_0_10000.h5"
    with h5py.File(path, "a") as file:
        before = file[key][:]
        del file[key]
        make(file, key, before)
    return path


def elsewhere(tmp_path):
    with h5py.File(tmp_path / "secret", "a") as file:
        file.require_dataset("jets", (5, 59), float)
    return str(tmp_path / "secret")


HOSTILE = {
    "external link": ("'jets' is a link", "jets", lambda tmp_path: lambda file, key, before:
        file.__setitem__(key, h5py.ExternalLink(elsewhere(tmp_path), "jets"))),
    "soft link": ("'jets' is a link", "jets", lambda tmp_path: lambda file, key, before:
        file.__setitem__(key, h5py.SoftLink("/jetConstituentList"))),
    "external storage": ("'jets' takes its content from another", "jets", lambda tmp_path: lambda file, key, before:
        file.create_dataset(key, (5, 59), float, external=[(elsewhere(tmp_path), 0, h5py.h5f.UNLIMITED)])),
    "nothing stored": ("'jets' has 0 of .* pieces", "jets", lambda tmp_path: lambda file, key, before:
        file.create_dataset(key, (10**12, 59), float, chunks=(1000, 59))),
    "endless names": ("holds 1000000 names; expected at most", "jetFeatureNames", lambda tmp_path:
        lambda file, key, before: file.create_dataset(key, data=np.zeros(10**6, "S9"), compression="gzip")),
    "a long name": ("holds what is no name", "jetFeatureNames", lambda tmp_path: lambda file, key, before:
        file.create_dataset(key, data=["x" * 10**6] * 60, dtype=h5py.string_dtype())),
    "numbers for names": ("holds what is no name", "jetFeatureNames", lambda tmp_path: lambda file, key, before:
        file.create_dataset(key, data=np.arange(60))),
    "enormous jets": ("one jet has", "jetConstituentList", lambda tmp_path: lambda file, key, before:
        file.create_dataset(key, data=np.zeros((5, 10_000, 16)), compression="gzip")),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files_are_one_line(tmp_path, what):
    words, key, make = HOSTILE[what]
    with pytest.raises(JetloomError, match=words) as caught:
        read(replaced(tmp_path, key, make(tmp_path)))
    assert "\n" not in str(caught.value)
