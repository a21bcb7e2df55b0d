"""Files of the Top tagging reference: a pandas table named "table", 200 zero-padded particles, truth columns."""

import numpy as np
import pandas as pd

from .make_jets import momenta, particles


def frame(counts, labels, seed=1, slots=200):
    """The table, particles sorted by falling pT as the publisher's are."""
    values = np.zeros((len(counts), slots, 4), np.float32)
    for row, jet in zip(values, particles(counts, seed), strict=True):
        jet = jet[np.argsort(-jet[:, 0])]
        row[: len(jet)] = momenta(jet)[:, [3, 0, 1, 2]]
    names = [f"{component}_{number}" for number in range(slots) for component in ("E", "PX", "PY", "PZ")]
    table = pd.DataFrame(values.reshape(len(counts), -1), columns=names)
    truth = pd.DataFrame(np.zeros((len(counts), 4), np.float32), columns=["truthE", "truthPX", "truthPY", "truthPZ"])
    flags = pd.DataFrame({"ttv": np.zeros(len(counts), int), "is_signal_new": np.asarray(labels, int)})
    return pd.concat([table, truth, flags], axis=1)


def write(path, table, key="table", format="table"):
    """As pandas writes it, with the compression of the original."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_hdf(path, key=key, format=format, complib="blosc", complevel=5)
    return path


def make(path, counts=(20, 30, 3, 45), labels=(0, 1, 0, 1), seed=1):
    """A small file."""
    return write(path, frame(counts, labels, seed))
