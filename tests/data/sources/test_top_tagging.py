"""The reader of the Top tagging reference against values that pandas and the builder give on their own."""

import os
import pickle
import struct

import awkward as ak
import h5py
import numpy as np
import pandas as pd
import pytest

from jetloom.config import resolve_dataset
from jetloom.data.sources.top_tagging import chunks
from jetloom.errors import JetloomError
from tests.support.data import make_top_tagging as build
from tests.support.data.make_jets import momenta, particles

pytestmark = pytest.mark.seconds

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


class Bomb:
    """An object whose unpickling is seen."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


TEXT = {"fixed ASCII": h5py.string_dtype("ascii", 300), "fixed UTF-8": h5py.string_dtype("utf-8", 300),
        "variable ASCII": h5py.string_dtype("ascii"), "variable UTF-8": h5py.string_dtype("utf-8")}  # fmt: skip


def attribute(kind, code):
    """An attribute that holds the pickle in one way of HDF5."""
    name, _, shape = kind.partition(", ")
    if name in TEXT:
        return code.decode() if not shape else [[b"", code]] if shape == "array" else None, TEXT[name]
    if name == "opaque":
        return np.void(code), None
    fields = [("a", "i4"), ("b", f"S{len(code)}")]
    return np.array((1, code), fields) if name == "compound" else np.array([(1, code)], fields), None


KINDS = [*TEXT, *(f"{name}, array" for name in TEXT), "opaque", "compound", "compounds"]
PLACES = ["/", "table", "table/table", "table/_i_table/index/sorted"]


@pytest.mark.parametrize(
    ("place", "kind"), [*(("table", kind) for kind in KINDS), *((place, "variable ASCII") for place in PLACES)]
)
def test_code_in_an_attribute_of_any_type_is_refused(tmp_path, raw, place, kind):
    marker = tmp_path / "ran"
    value, dtype = attribute(kind, pickle.dumps(Bomb(marker), 0))
    with h5py.File(raw, "a") as file:
        file[place].attrs.create("title2", value, dtype=dtype)
    with pytest.raises(JetloomError, match="attribute title2 would run code") as caught:
        read(raw)
    assert "\n" not in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize(("protocol", "ending"), [(0, b""), (0, b"\nR."), *((n, b"\xff garbage") for n in range(5))])
def test_code_in_a_pickle_of_any_protocol_is_refused_whatever_follows_it(tmp_path, raw, protocol, ending):
    with h5py.File(raw, "a") as file:
        file["table"].attrs["info"] = np.void(pickle.dumps(Bomb(tmp_path / "ran"), protocol)[:-1] + ending)
    with pytest.raises(JetloomError, match="attribute info would run code"):
        read(raw)
    assert not (tmp_path / "ran").exists()


def test_names_of_columns_are_not_unpickled(tmp_path, raw):
    marker = tmp_path / "ran"
    with h5py.File(raw, "a") as file:
        file["table/table"].attrs["values_block_1_kind"] = np.bytes_(b"(lp0\nI1\nVttv\np1\naVis_signal_new\np2\na.")
    with pytest.raises(JetloomError, match="attribute values_block_1_kind is no list of names") as caught:
        read(raw)
    assert "\n" not in str(caught.value)
    assert not marker.exists()


def test_objects_beside_the_table_are_not_unpickled(tmp_path):
    """The list of categories of a column, which pandas reads with the table, may be an array of pickles."""
    marker, path = tmp_path / "ran", tmp_path / "train.h5"
    table = build.frame(COUNTS, LABELS)
    with pd.HDFStore(path, "w") as store:
        store.put("table", table, format="table", data_columns=["is_signal_new"])
        store.put("table/meta/is_signal_new/meta", pd.Series([Bomb(marker), 1], dtype=object))
        store.get_node("table/table")._v_attrs["is_signal_new_meta"] = "category"
    assert ak.to_list(read(path).label) == list(LABELS)
    assert not marker.exists()


@pytest.mark.parametrize("complib", ["zlib", "blosc:blosclz", "blosc:lz4", "blosc:zlib", "blosc:zstd", None])
@pytest.mark.parametrize("columns", [None, ["is_signal_new"], ["E_0", "PX_0"]])
def test_every_compression_and_layout_of_pandas_gives_the_jets_of_pandas(tmp_path, complib, columns):
    counts, labels = [1 + number % 60 for number in range(300)], [number % 2 for number in range(300)]
    path, table = tmp_path / "train.h5", build.frame(counts, labels)
    level = 5 if complib else 0
    table.to_hdf(path, key="table", format="table", complib=complib, complevel=level, data_columns=columns)
    for size in (7, 1000):
        jets = read(path, size)
        assert ak.to_list(jets.label) == labels
        energy = pd.read_hdf(path, "table")[[f"E_{number}" for number in range(200)]].to_numpy()
        np.testing.assert_allclose(ak.sum(jets.part_energy, axis=1), energy.sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, "Python 2"])
def test_names_are_read_from_pickles_of_every_protocol(tmp_path, raw, protocol):
    before = read(raw)
    names = pd.read_hdf(raw, "table").columns[:804].tolist()
    if protocol == "Python 2":
        code = "(lp1\n" + "".join(f"S'{name}'\np{place}\na" for place, name in enumerate(names, 2)) + "."
        code = code.encode()
    else:
        code = pickle.dumps(names, protocol)
    assert pickle.loads(code) == names
    with h5py.File(raw, "a") as file:
        file["table/table"].attrs["values_block_0_kind"] = np.bytes_(code)
    assert ak.all(read(raw).part_px == before.part_px)


def moved(tmp_path, raw, link):
    """The table as a link to another place."""
    with h5py.File(raw, "a") as file:
        if link == "external group":
            file.move("table", "hidden")
            file["table"] = h5py.ExternalLink(str(raw), "/hidden")
        else:
            file.move("table/table", "hidden")
            file["table/table"] = h5py.SoftLink("/hidden") if link == "soft" else h5py.ExternalLink(str(raw), "/hidden")


@pytest.mark.parametrize("link", ["external group", "external", "soft"])
def test_links_are_not_followed(tmp_path, raw, link):
    moved(tmp_path, raw, link)
    with pytest.raises(JetloomError, match="'table' is a link, perhaps to another file") as caught:
        read(raw)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("where", ["virtual", "external"])
def test_content_of_another_file_is_not_read(tmp_path, raw, where):
    secret = tmp_path / "secret"
    with h5py.File(raw, "a") as file:
        table = file["table/table"]
        kind, attributes = table.dtype, dict(table.attrs)
        rows = np.zeros(5, kind)
        del file["table/table"]
        if where == "external":
            secret.write_bytes(rows.tobytes())
            new = file["table"].create_dataset("table", (5,), kind, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
        else:
            with h5py.File(secret, "w") as other:
                other["rows"] = rows
            layout = h5py.VirtualLayout((5,), kind)
            layout[:] = h5py.VirtualSource(secret, "rows", shape=(5,))
            new = file["table"].create_virtual_dataset("table", layout)
        for name in ("values_block_0_kind", "values_block_1_kind"):
            new.attrs[name] = attributes[name]
    with pytest.raises(JetloomError, match="'table' takes its content from another file") as caught:
        read(raw)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "piece", "words"),
    [
        ((10**15,), (1000,), "has 0 of 1000000000000 pieces"),
        ((10**15,), None, "has 0 of .* bytes"),
        ((10**9,), (10**8,), "comes in pieces of"),
    ],
)
def test_rows_that_are_not_there_are_not_made_up(tmp_path, raw, shape, piece, words):
    with h5py.File(raw, "a") as file:
        kind = file["table/table"].dtype
        del file["table/table"]
        space = h5py.h5s.create_simple(shape)
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        if piece:
            plan.set_chunk(piece)
        h5py.h5d.create(file["table"].id, b"table", h5py.h5t.py_create(kind), space, plan)
    with pytest.raises(JetloomError, match=words) as caught:
        read(raw)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:4] + struct.pack("<I", 2**31 - 1) + data[8:],
        lambda data: b"\x05" + data[1:],
        lambda data: data[:2] + b"\xe1" + data[3:],
        lambda data: data[:100],
        lambda data: data[:7],
        lambda data: data[:16] + bytes(len(data) - 16),
    ],
)
def test_a_damaged_piece_is_one_line(raw, damage):
    with h5py.File(raw, "a") as file:
        table = file["table/table"]
        skipped, data = table.id.read_direct_chunk((0,))
        assert not skipped
        table.id.write_direct_chunk((0,), damage(data))
    with pytest.raises(JetloomError, match="truncated or damaged") as caught:
        read(raw)
    assert "\n" not in str(caught.value)
