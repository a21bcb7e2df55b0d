"""JetClass ROOT files (Zenodo 6619768), and those that ``jetloom simulate jetclass-sim`` writes in the same format."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import awkward
import numpy as np
import uproot

from jetloom.config import Dataset
from jetloom.data.sources.padded import refuse
from jetloom.errors import JetloomError

TREE = "tree"
LABELS = ["QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl"]
FOUR_VECTOR = ["part_px", "part_py", "part_pz", "part_energy"]
PARTICLE = [
    *FOUR_VECTOR,
    *("part_deta", "part_dphi", "part_d0val", "part_d0err", "part_dzval", "part_dzerr", "part_charge"),
    *("part_isChargedHadron", "part_isNeutralHadron", "part_isPhoton", "part_isElectron", "part_isMuon"),
]
JET = [
    *("jet_pt", "jet_eta", "jet_phi", "jet_energy", "jet_nparticles", "jet_sdmass"),
    *("jet_tau1", "jet_tau2", "jet_tau3", "jet_tau4"),
]
TRUTH = ["aux_genpart_pt"]
"""Of the matched particle; not every file in this format has it."""
AXIS = ["jet_pt", "jet_eta", "jet_phi", "jet_energy"]
AGAIN = "fetch or make it again"
OTHER = "name a file of JetClass's format, or another data set"


class _File(uproot.ReadOnlyFile):  # type: ignore[misc]  # uproot has no types
    """A ROOT file without its own descriptions of classes.

    uproot would turn them into Python code and run it; it knows those of trees and their branches without the file.
    """

    @property
    def streamers(self) -> dict[str, Any]:
        return {}


def chunks(raw: Path, dataset: Dataset, size: int) -> Iterator[awkward.Array]:
    """Stream the jets of one ROOT file.

    Args:
        raw: the file.
        dataset: names the classes that count.
        size: jets per chunk.

    Raises:
        JetloomError: missing, truncated or empty file; missing tree or branch; a branch of another type; a jet with
            unequal ``part_*`` lengths, without particles, with NaN or infinity in a four-vector, or with labels that
            are not one-hot.
    """
    if not raw.is_file():
        raise JetloomError(f"{raw}: no such file; {AGAIN}")
    wanted = [*PARTICLE, *JET, *(f"label_{name}" for name in LABELS)]
    with ExitStack() as stack:
        with _reading(raw):
            file = stack.enter_context(_File(raw)).root_directory
            if file.file.fEND > raw.stat().st_size:
                # The jets may all be there, but the writer did not say so.
                raise EOFError(f"{raw.stat().st_size} bytes of {file.file.fEND}")
            keys = file.keys(cycle=False)
            tree = file[TREE] if TREE in keys else None
        if tree is None:
            raise JetloomError(f"{raw}: no tree {TREE!r}; found: {', '.join(keys) or 'nothing'}; {OTHER}")
        if not isinstance(tree, uproot.TTree):
            raise JetloomError(f"{raw}: {TREE!r} is a {tree.classname}; expected a TTree; {OTHER}")
        with _reading(raw):
            types = {branch.name: _type(branch) for branch in tree.branches}
        wanted += [name for name in TRUTH if name in types]
        _check_branches(raw, tree.num_entries, types, wanted)
        pieces = tree.iterate(wanted, step_size=size, library="ak")
        first = 0
        while True:
            with _reading(raw):
                chunk = next(pieces, None)
            if chunk is None:
                break
            yield _canonical(raw, chunk, dataset, first)
            first += len(chunk)


@contextmanager
def _reading(raw: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # uproot and its decompressors raise anything, depending on where the damage is.
        reason = str(error).strip().splitlines()
        raise JetloomError(
            f"{raw}: not a readable ROOT file, truncated or damaged ({reason[0] if reason else type(error).__name__}); "
            f"{AGAIN}"
        ) from error


class _Type(NamedTuple):
    name: str
    jagged: bool
    numeric: bool


def _type(branch: "uproot.TBranch") -> _Type:
    jagged = isinstance(branch.interpretation, uproot.AsJagged)
    content = branch.interpretation.content if jagged else branch.interpretation
    numeric = isinstance(content, uproot.AsDtype) and content.to_dtype.kind in "fiub" and not content.to_dtype.shape
    return _Type(branch.typename, jagged, numeric)


def _check_branches(raw: Path, jets: int, types: dict[str, _Type], wanted: list[str]) -> None:
    if missing := [name for name in wanted if name not in types]:
        raise JetloomError(f"{raw}: missing branch {', '.join(missing)}; expected those of JetClass; {OTHER}")
    for name in wanted:
        if not types[name].numeric or types[name].jagged != (name in PARTICLE):
            expected = "a list of numbers for each jet" if name in PARTICLE else "one number for each jet"
            raise JetloomError(f"{raw}: branch {name} is {types[name].name}; expected {expected}; {OTHER}")
    if jets == 0:
        raise JetloomError(f"{raw}: the tree holds no jets; {AGAIN}")


def _canonical(raw: Path, chunk: awkward.Array, dataset: Dataset, first: int) -> awkward.Array:
    counts = awkward.num(chunk[PARTICLE[0]]).to_numpy()
    for name in PARTICLE[1:]:
        refuse(raw, awkward.num(chunk[name]).to_numpy() != counts, first, f"{name} and part_px have unequal lengths")
    refuse(raw, counts == 0, first, "no particles")
    for name in FOUR_VECTOR:
        bad = ~np.isfinite(awkward.flatten(chunk[name]).to_numpy())
        if bad.any():
            jet = np.repeat(np.arange(len(counts)), counts)
            refuse(raw, np.bincount(jet, bad, len(counts)) > 0, first, f"{name} is not finite")
    for name in AXIS:
        refuse(raw, ~np.isfinite(chunk[name].to_numpy()), first, f"{name} is not finite")
    label = np.stack([chunk[f"label_{name}"].to_numpy() for name in LABELS], axis=1)
    one_hot = ((label == 0) | (label == 1)).all(axis=1) & ((label == 1).sum(axis=1) == 1)
    refuse(raw, ~one_hot, first, "not one of the labels label_* is 1 and all others 0")
    index = np.array([dataset.classes.index(name) if name in dataset.classes else -1 for name in LABELS])
    columns = {name: chunk[name] for name in [*PARTICLE, *JET, *TRUTH] if name in chunk.fields}
    return awkward.zip(columns | {"label": index[label.argmax(axis=1)]}, depth_limit=1)
