"""Small local mirrors of the five public sets, laid out as their publishers lay them out.

Each function fills a directory and returns what an experiment changes in the preset: splits of a few files, and
``files`` with the checksums of the small ones (names, members and their places are those of the preset).
"""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from jetloom.config import resolve_dataset
from jetloom.data.simulate import rootfile

from . import make_hls4ml, make_quark_gluon, make_top_tagging
from .make_jets import momenta, particles

PROCESSES = {"ZJetsToNuNu": "QCD", "HToBB": "Hbb"}


def _counts(seed: int, jets: int, largest: int = 60) -> list[int]:
    return np.random.default_rng(seed).integers(3, largest, jets).tolist()


def _files(name: str, mirror: Path, present: list[str], **changes: Any) -> dict[str, Any]:
    """The preset's entries of the files that the mirror has, with the sums of the small ones."""
    entries = []
    for file in resolve_dataset(name, {}, name).files:
        if file.name not in present:
            continue
        content = (mirror / file.name).read_bytes()
        sums = {"md5": hashlib.md5(content).hexdigest()} if file.md5 or file.sha256 else {}
        entries.append(
            {
                "name": file.name,
                # No test leaves this machine.
                "url": f"http://127.0.0.1:1/{file.name}",
                "holds": file.holds,
                "rename": file.rename,
                **sums,
            }
        )
    shards = dict.fromkeys(resolve_dataset(name, {}, name).splits, 1)
    return {"files": entries, "mirrors": [str(mirror)], "shards": shards, **changes}


def _tar(path: Path, members: dict[str, Path], mode: str) -> None:
    with tarfile.open(path, mode) as tar:
        for name, source in members.items():
            tar.add(source, name)


def root_file(path: Path, process: str, jets: int, seed: int) -> None:
    counts = _counts(seed, jets)
    lists = particles(counts, seed, 700.0)
    with rootfile.create(path) as writer:
        vectors = [momenta(jet[np.argsort(-jet[:, 0])]) for jet in lists]
        flat = np.concatenate(vectors)
        total = np.stack([jet.sum(axis=0) for jet in vectors])
        columns = dict.fromkeys(rootfile.PARTICLE_TYPES, np.zeros(len(flat)))
        columns |= dict(zip(("px", "py", "pz", "energy"), flat.T, strict=True))
        part = ak.zip(
            {
                name: ak.unflatten(values.astype(rootfile.PARTICLE_TYPES[name]), counts)
                for name, values in columns.items()
            }
        )
        jet = dict.fromkeys(rootfile.JET_TYPES, np.zeros(jets)) | {
            f"label_{PROCESSES[process]}": np.ones(jets),
            "jet_pt": np.hypot(total[:, 0], total[:, 1]),
            "jet_eta": np.arcsinh(total[:, 2] / np.hypot(total[:, 0], total[:, 1])),
            "jet_phi": np.arctan2(total[:, 1], total[:, 0]),
            "jet_energy": total[:, 3],
            "jet_nparticles": np.array(counts, float),
            "jet_sdmass": np.sqrt(np.maximum(total[:, 3] ** 2 - (total[:, :3] ** 2).sum(axis=1), 0)),
        }
        writer.write({"part": part, **jet})


def jetclass(mirror: Path, work: Path, jets: int = 24) -> dict[str, Any]:
    """Two processes; two parts of the training set, validation and test with directories of their own."""
    archives = {
        "JetClass_Pythia_train_100M_part0.tar": ("", ["000"]),
        "JetClass_Pythia_train_100M_part1.tar": ("./", ["010"]),
        "JetClass_Pythia_val_5M.tar": ("val_5M/", ["120"]),
        "JetClass_Pythia_test_20M.tar": ("test_20M/", ["100"]),
    }
    for archive, (directory, numbers) in archives.items():
        members = {}
        for process in PROCESSES:
            for number in numbers:
                source = work / f"{process}_{number}.root"
                root_file(source, process, jets, seed=int(number) + len(process))
                members[f"{directory}{source.name}"] = source
        _tar(mirror / archive, members, "w")
    return _files(
        "jetclass",
        mirror,
        list(archives),
        classes=["QCD", "Hbb"],
        splits={
            "train": ["{ZJetsToNuNu,HToBB}_{000,010}.root"],
            "val": ["{ZJetsToNuNu,HToBB}_120.root"],
            "test": ["{ZJetsToNuNu,HToBB}_100.root"],
        },
        shards={"train": 2, "val": 1, "test": 1},
    )


def top_tagging(mirror: Path, work: Path, jets: int = 40) -> dict[str, Any]:
    """Three HDF5 files."""
    for seed, split in enumerate(("train", "val", "test")):
        make_top_tagging.make(mirror / f"{split}.h5", _counts(seed, jets), np.arange(jets) % 2, seed)
    return _files("top_tagging", mirror, ["train.h5", "val.h5", "test.h5"])


def quark_gluon(mirror: Path, work: Path, jets: int = 40) -> dict[str, Any]:
    """One file for each split and the one of the other generator."""
    names = ["QG_jets.npz", "QG_jets_16.npz", "QG_jets_18.npz", "QG_jets_herwig_18.npz"]
    for seed, name in enumerate(names):
        make_quark_gluon.make(mirror / name, _counts(seed, jets), np.arange(jets) % 2, seed)
    splits = dict(zip(("train", "val", "test", "test_herwig"), ([name] for name in names), strict=True))
    return _files("quark_gluon", mirror, names, splits=splits)


def hls4ml(mirror: Path, work: Path, jets: int = 40) -> dict[str, Any]:
    """Two archives of HDF5 files."""
    for archive, directory, files in (("train", "train", (0, 3, 6)), ("val", "val", (7,))):
        source = make_hls4ml.make(work / directory, files, _counts(7, jets), np.arange(jets) % 5)
        _tar(mirror / f"hls4ml_LHCjet_150p_{archive}.tar.gz", {directory: source}, "w:gz")
    return _files("hls4ml", mirror, ["hls4ml_LHCjet_150p_train.tar.gz", "hls4ml_LHCjet_150p_val.tar.gz"])


def modelnet10(mirror: Path, work: Path, jets: int = 8) -> dict[str, Any]:
    """One archive of boxes and pyramids, headers glued to the counts in every other file."""
    shapes = {
        "chair": ("8 6 0", [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 3)],
                  ["4 0 1 3 2", "4 4 5 7 6", "4 0 1 5 4", "4 2 3 7 6", "4 0 2 6 4", "4 1 3 7 5"]),
        "table": ("4 4 0", [(0, 0, 0), (2, 0, 0), (0, 2, 0), (0, 0, 1)], ["3 0 1 2", "3 0 1 3", "3 0 2 3", "3 1 2 3"]),
    }  # fmt: skip
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("ModelNet10/README.txt", "words")
        for name, (counts, vertices, faces) in shapes.items():
            for number in range(1, 2 * jets + 1):
                split = "train" if number <= jets else "test"
                corners = np.array(vertices) * (1 + number / 10)
                glue = "" if number % 2 else "\n"
                lines = [f"OFF{glue}{counts}", *(" ".join(map(str, corner)) for corner in corners), *faces]
                file.writestr(f"ModelNet10/{name}/{split}/{name}_{number:04d}.off", "\n".join(lines) + "\n")
            file.writestr(f"__MACOSX/ModelNet10/{name}/train/._{name}_0001.off", "junk")
    (mirror / "ModelNet10.zip").write_bytes(buffer.getvalue())
    splits = {split: [f"{{chair,table}}/{split}"] for split in ("train", "val", "test")}
    return _files("modelnet10", mirror, ["ModelNet10.zip"], classes=["chair", "table"], splits=splits)


MIRRORS = {
    "jetclass": jetclass,
    "top_tagging": top_tagging,
    "quark_gluon": quark_gluon,
    "hls4ml": hls4ml,
    "modelnet10": modelnet10,
}


def build(name: str, directory: Path, **settings: Any) -> dict[str, Any]:
    """A mirror of one set; the changes that an experiment makes to use it."""
    mirror, work = directory / "mirror", directory / "work"
    mirror.mkdir(parents=True)
    work.mkdir()
    return MIRRORS[name](mirror, work, **settings)
