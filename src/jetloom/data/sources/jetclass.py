"""JetClass ROOT files (Zenodo 6619768), and those that ``jetloom simulate jetclass-sim`` writes in the same format."""

from collections.abc import Iterator
from pathlib import Path

import awkward
import numpy
import uproot

from jetloom.config import Dataset
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
AGAIN = "fetch or make it again"


def chunks(raw: Path, dataset: Dataset, size: int) -> Iterator[awkward.Array]:
    """Stream the jets of one ROOT file.

    Args:
        raw: the file.
        dataset: names the classes that count.
        size: jets per chunk.

    Raises:
        JetloomError: missing, truncated or empty file; missing tree or branch; a branch of another type; a jet with
            unequal ``part_*`` lengths, without particles, with NaN or infinity in a four-vector, or with not exactly
            one label.
    """
    wanted = [f"label_{name}" for name in LABELS]
    try:
        with uproot.open(raw) as file:
            if TREE not in file.keys(cycle=False):
                raise JetloomError(f"{raw}: no tree {TREE!r}; found: {', '.join(file.keys(cycle=False)) or 'nothing'}")
            tree = file[TREE]
            _check_branches(raw, tree, wanted)
            first = 0
            for chunk in tree.iterate([*PARTICLE, *JET, *wanted], step_size=size, library="ak"):
                yield _canonical(raw, chunk, dataset, first)
                first += len(chunk)
    except JetloomError:
        raise
    except FileNotFoundError:
        raise JetloomError(f"{raw}: no such file; {AGAIN}") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, uproot.DeserializationError) as error:
        # What uproot raises for bytes that are not what they should be depends on where the damage is.
        reason = str(error).strip().splitlines()
        raise JetloomError(
            f"{raw}: not a readable ROOT file, truncated or damaged ({reason[0] if reason else type(error).__name__}); "
            f"{AGAIN}"
        ) from None


def _check_branches(raw: Path, tree: uproot.TTree, labels: list[str]) -> None:
    if tree.num_entries == 0:
        raise JetloomError(f"{raw}: the tree holds no jets; {AGAIN}")
    present = set(tree.keys())
    if missing := [name for name in [*PARTICLE, *JET, *labels] if name not in present]:
        raise JetloomError(f"{raw}: missing branch {', '.join(missing)}; expected the branches of JetClass")
    for name in [*PARTICLE, *JET, *labels]:
        interpretation = tree[name].interpretation
        jagged = isinstance(interpretation, uproot.AsJagged)
        content = interpretation.content if jagged else interpretation
        numeric = isinstance(content, uproot.AsDtype) and content.to_dtype.kind in "fiub"
        if not numeric or jagged != (name in PARTICLE):
            expected = "a list of numbers for each jet" if name in PARTICLE else "one number for each jet"
            raise JetloomError(f"{raw}: branch {name} is {tree[name].typename}; expected {expected}")


def _canonical(raw: Path, chunk: awkward.Array, dataset: Dataset, first: int) -> awkward.Array:
    counts = awkward.num(chunk[PARTICLE[0]]).to_numpy()
    for name in PARTICLE[1:]:
        _refuse(raw, awkward.num(chunk[name]).to_numpy() != counts, first, f"{name} and part_px have unequal lengths")
    _refuse(raw, counts == 0, first, "no particles")
    for name in FOUR_VECTOR:
        bad = ~numpy.isfinite(awkward.flatten(chunk[name]).to_numpy())
        if bad.any():
            jet = numpy.repeat(numpy.arange(len(counts)), counts)
            _refuse(raw, numpy.bincount(jet, bad, len(counts)) > 0, first, f"{name} is not finite")
    label = numpy.stack([numpy.asarray(chunk[f"label_{name}"]) != 0 for name in LABELS], axis=1)
    _refuse(raw, label.sum(axis=1) != 1, first, "not exactly one of the labels label_* is set")
    index = numpy.array([dataset.classes.index(name) if name in dataset.classes else -1 for name in LABELS])
    columns = {name: chunk[name] for name in [*PARTICLE, *JET]}
    return awkward.zip(columns | {"label": index[label.argmax(axis=1)]}, depth_limit=1)


def _refuse(raw: Path, bad: numpy.ndarray, first: int, what: str) -> None:
    if bad.any():
        raise JetloomError(
            f"{raw}: jet {first + int(bad.argmax())}: {what} ({int(bad.sum())} such jets in the chunk); {AGAIN}"
        )
