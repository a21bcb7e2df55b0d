"""Top tagging reference (Zenodo 2603256): pandas tables in HDF5, ``E_i, PX_i, PY_i, PZ_i`` for i = 0 .. 199."""

import pickletools
from collections.abc import Iterator
from pathlib import Path

import awkward
import h5py
import numpy
import pandas

from jetloom.config import Dataset
from jetloom.data.sources.padded import class_index, jagged, refuse
from jetloom.errors import JetloomError

KEY = "table"
LABEL = "is_signal_new"
LABELS = ["QCD", "top"]
COMPONENTS = ["PX", "PY", "PZ", "E"]
# Opcodes with which a pickle can name or call code; without them it holds plain values.
CODE = {
    *("GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD"),
    *("EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"),
}


def chunks(raw: Path, dataset: Dataset, size: int) -> Iterator[awkward.Array]:
    """Stream the jets of one file.

    Args:
        raw: ``train.h5``, ``val.h5`` or ``test.h5``.
        dataset: names the classes that count.
        size: jets per chunk.

    Raises:
        JetloomError: not HDF5, no table, a missing column, no jets, a label that is neither 0 nor 1, a jet without
            particles, or NaN or infinity in a four-vector.
    """
    _check_file(raw)
    try:
        with pandas.HDFStore(raw, "r") as store:
            storer = store.get_storer(KEY)
            if not storer.is_table:
                raise JetloomError(f"{raw}: {KEY!r} is no pandas table that can be read in pieces; fetch it again")
            if not storer.nrows:
                raise JetloomError(f"{raw}: the table holds no jets; fetch it again")
            for first in range(0, storer.nrows, size):
                yield _canonical(raw, store.select(KEY, start=first, stop=first + size), dataset, first)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise _unreadable(raw, error) from None


def _check_file(raw: Path) -> None:
    """Refuse files whose attributes would run code: PyTables unpickles them."""
    if not raw.is_file():
        raise JetloomError(f"{raw}: no such file; fetch it with `jetloom download`")
    try:
        with h5py.File(raw) as file:
            if KEY not in file:
                raise JetloomError(f"{raw}: no key {KEY!r}; found: {', '.join(file) or 'nothing'}; fetch it again")
            objects: list[h5py.HLObject] = [file]
            file.visititems(lambda name, item: objects.append(item))
            for item in objects:
                for name in item.attrs:
                    _check_attribute(raw, name, item.attrs[name])
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise _unreadable(raw, error) from None


def _check_attribute(raw: Path, name: str, value: object) -> None:
    if not isinstance(value, bytes):
        return
    try:
        names = {opcode.name for opcode, _, _ in pickletools.genops(value)}
    except (ValueError, UnicodeDecodeError, IndexError):
        return
    if names & CODE:
        raise JetloomError(f"{raw}: attribute {name} would run code when it is read; the file is not to be trusted")


def _unreadable(raw: Path, error: Exception) -> JetloomError:
    reason = str(error).strip().splitlines()
    what = reason[0] if reason else type(error).__name__
    return JetloomError(f"{raw}: not a readable HDF5 file, truncated or damaged ({what}); fetch it again")


def _canonical(raw: Path, table: pandas.DataFrame, dataset: Dataset, first: int) -> awkward.Array:
    # By number: sorted as text, PX_10 would come before PX_2.
    numbers = sorted(int(name[2:]) for name in table.columns if name.startswith("E_") and name[2:].isdigit())
    names = [f"{component}_{number}" for number in numbers for component in COMPONENTS]
    present = set(table.columns)
    if missing := [name for name in [*names, LABEL] if name not in present] or ([] if numbers else ["E_0"]):
        raise JetloomError(
            f"{raw}: missing column {', '.join(missing[:3])}; expected E_i, PX_i, PY_i, PZ_i and {LABEL}; "
            "fetch it again"
        )
    momenta = table[names].to_numpy().reshape(len(table), len(numbers), 4)
    if momenta.dtype.kind not in "fiu":
        raise JetloomError(f"{raw}: the four-vectors are not numbers; fetch it again")
    target = table[LABEL].to_numpy()
    refuse(raw, ~numpy.isin(target, (0, 1)), first, f"{LABEL} is neither 0 nor 1")
    # NaN is not padding: it has to be found.
    real = ~(momenta[..., 3] <= 0)
    return jagged(raw, first, momenta, real, class_index(LABELS, dataset.classes)[target.astype(int)])
