"""ROOT files in the format of JetClass: tree ``tree``, 41 branches, LZ4 level 4."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import awkward
import numpy as np
import uproot

from jetloom.system.files import appearing

TREE = "tree"

_FLOATS = ["px", "py", "pz", "energy", "deta", "dphi", "d0val", "d0err", "dzval", "dzerr", "charge"]
_FLAGS = ["isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon"]
# Branch types are part of the format: they differ between the labels in JetClass too.
PARTICLE_TYPES = {name: "float32" for name in _FLOATS} | {name: "int32" for name in _FLAGS}
JET_TYPES = (
    {"label_QCD": "float32"}
    | {f"label_{name}": "bool" for name in ("Hbb", "Hcc", "Hgg", "H4q", "Hqql")}
    | {f"label_{name}": "int32" for name in ("Zqq", "Wqq", "Tbqq", "Tbl")}
    | {f"jet_{name}": "float32" for name in ("pt", "eta", "phi", "energy", "nparticles", "sdmass")}
    | {f"jet_tau{n}": "float32" for n in (1, 2, 3, 4)}
    | {f"aux_{name}": "float32" for name in ("genpart_eta", "genpart_phi", "genpart_pid", "genpart_pt", "truth_match")}
)

Columns = Mapping[str, "awkward.Array | np.ndarray"]


class Writer:
    """Appends jets to a tree, in baskets of some thousand."""

    def __init__(self, tree: "uproot.WritableTree", basket: int = 2000) -> None:
        self._tree = tree
        self._basket = basket
        self._waiting: list[Columns] = []
        self._jets = 0

    def write(self, columns: Columns) -> None:
        """Append jets: ``part`` (jagged records) and one array per entry of ``JET_TYPES``."""
        self._waiting.append(columns)
        self._jets += len(columns["jet_pt"])
        if self._jets >= self._basket:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if not self._jets:
            return
        merged = {name: np.concatenate([part[name] for part in self._waiting]) for name in JET_TYPES}
        particles = awkward.concatenate([part["part"] for part in self._waiting])
        self._tree.extend({"part": particles} | {name: merged[name].astype(kind) for name, kind in JET_TYPES.items()})
        self._waiting, self._jets = [], 0


@contextmanager
def create(path: Path) -> Iterator[Writer]:
    """A new file, which appears under its name only when it is complete."""
    with appearing(path) as temporary, uproot.recreate(temporary, compression=uproot.LZ4(4)) as file:
        particles = ", ".join(f'"{name}": {kind}' for name, kind in PARTICLE_TYPES.items())
        tree = file.mktree(
            TREE,
            {"part": f"var * {{{particles}}}"} | JET_TYPES,
            counter_name=lambda name: f"n{name}",
            field_name=lambda outer, inner: f"{outer}_{inner}",
        )
        writer = Writer(tree)
        yield writer
        writer.flush()
