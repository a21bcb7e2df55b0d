"""Top tagging reference (Zenodo 2603256): pandas tables in HDF5, ``E_i, PX_i, PY_i, PZ_i`` for i = 0 .. 199.

PyTables, by which pandas reads such a file, unpickles attributes and objects in it, and a pickle may run code. So the
file is read with h5py: pandas keeps columns of one type together as a field ``values_block_<k>`` of ``/table/table``,
and their names as a pickled list in its attribute ``values_block_<k>_kind``, which is parsed and not unpickled.
"""

import pickletools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import awkward
import h5py
import numpy as np
from numpy.typing import NDArray

from jetloom.config import Dataset
from jetloom.data.sources.hdf5 import UNTRUSTED, opened, rows, stored
from jetloom.data.sources.padded import affordable, class_index, jagged, refuse
from jetloom.errors import JetloomError

KEY = "table"
LABEL = "is_signal_new"
LABELS = ["QCD", "top"]
COMPONENTS = ["PX", "PY", "PZ", "E"]
INDEX = "index"
# Opcodes of a pickled list of texts, and those that fetch code to be called: no pickle runs any without one of them.
TEXTS = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"}
LIST = {
    *("PROTO", "FRAME", "MARK", "LIST", "EMPTY_LIST", "APPEND", "APPENDS", "STOP"),
    *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"),
}
CODE = {"GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"}

Columns = Mapping[str, tuple[str, int]]
"""Name of a column: field of the table, and place in it."""


def chunks(raw: Path, dataset: Dataset, size: int) -> Iterator[awkward.Array]:
    """Stream the jets of one file.

    Args:
        raw: ``train.h5``, ``val.h5`` or ``test.h5``.
        dataset: names the classes that count.
        size: jets per chunk.

    Raises:
        JetloomError: not HDF5, no table, a missing column, no jets, a label that is neither 0 nor 1, a jet without
            particles, NaN or infinity in a four-vector, an attribute that would run code elsewhere, or a table that
            is in another file.
    """
    if not raw.is_file():
        raise JetloomError(f"{raw}: no such file; fetch it with `jetloom download`")
    with opened(raw) as file:
        if KEY not in file:
            raise JetloomError(f"{raw}: no key {KEY!r}; found: {', '.join(file) or 'nothing'}; fetch it again")
        _refuse_code(raw, file)
        table = _table(raw, file)
        columns = _columns(raw, table)
        step = affordable(raw, table.dtype.itemsize, size)
        for first in range(0, len(table), step):
            block = rows(table, first, min(first + step, len(table)))
            yield _canonical(raw, block, columns, dataset, first)


def _refuse_code(raw: Path, file: h5py.File) -> None:
    """Refuse a file by which pandas would run code: it is not the publisher's, whatever else it holds."""
    objects: list[h5py.HLObject] = [file]
    file.visititems(lambda name, item: objects.append(item))
    for item in objects:
        for name, value in item.attrs.items():
            if any(_names_code(text) for text in _texts(value)):
                raise JetloomError(f"{raw}: attribute {name} would run code when it is read; {UNTRUSTED}")


def _texts(value: object) -> Iterator[bytes]:
    """Everything in an attribute that could be a pickle: strings of each kind, arrays of them, opaque bytes."""
    if isinstance(value, str):
        yield value.encode(errors="surrogateescape")
    elif isinstance(value, np.void) and value.dtype.names:
        for name in value.dtype.names:
            yield from _texts(value[name])
    elif isinstance(value, bytes):
        yield value
    elif isinstance(value, np.void):
        yield value.tobytes()
    elif isinstance(value, np.ndarray) and value.dtype.kind not in "biufc":
        for element in value.ravel():
            yield from _texts(element)


def _names_code(text: bytes) -> bool:
    try:
        return any(opcode.name in CODE for opcode, _, _ in pickletools.genops(text))
    except (ValueError, IndexError):
        # No pickle, or none from here on.
        return False


def _table(raw: Path, file: h5py.File) -> h5py.Dataset:
    if not isinstance(file.get(KEY, getlink=True), h5py.HardLink):
        raise JetloomError(f"{raw}: {KEY!r} is a link, perhaps to another file of this machine; {UNTRUSTED}")
    group = file[KEY]
    table = stored(raw, group, KEY) if isinstance(group, h5py.Group) and KEY in group else None
    if table is None or table.ndim != 1 or not table.dtype.names or table.dtype.hasobject:
        raise JetloomError(f"{raw}: {KEY!r} is no pandas table that can be read in pieces; fetch it again")
    if not len(table):
        raise JetloomError(f"{raw}: the table holds no jets; fetch it again")
    return table


def _columns(raw: Path, table: h5py.Dataset) -> Columns:
    columns: dict[str, tuple[str, int]] = {}
    for field in table.dtype.names:
        kind = table.attrs.get(f"{field}_kind")
        if field == INDEX or kind is None:
            continue
        names = _names(raw, f"{field}_kind", kind)
        if np.prod(table.dtype[field].shape, dtype=int) != len(names):
            raise JetloomError(
                f"{raw}: {field} has shape {table.dtype[field].shape} for {len(names)} names; fetch it again"
            )
        columns |= {name: (field, place) for place, name in enumerate(names)}
    return columns


def _names(raw: Path, attribute: str, value: object) -> list[str]:
    """The texts of a pickled list, found by its opcodes."""
    names = []
    for opcode, argument, _ in pickletools.genops(value if isinstance(value, bytes) else b""):
        if opcode.name in TEXTS:
            names.append(str(argument))
        elif opcode.name not in LIST:
            raise JetloomError(f"{raw}: attribute {attribute} is no list of names ({opcode.name}); fetch it again")
    return names


def _canonical(raw: Path, block: NDArray[np.void], columns: Columns, dataset: Dataset, first: int) -> awkward.Array:
    # By number: sorted as text, PX_10 would come before PX_2.
    numbers = sorted(int(name[2:]) for name in columns if name.startswith("E_") and name[2:].isdecimal())
    names = [f"{component}_{number}" for number in numbers for component in COMPONENTS]
    if missing := [name for name in [*names, LABEL] if name not in columns] or ([] if numbers else ["E_0"]):
        raise JetloomError(
            f"{raw}: missing column {', '.join(missing[:3])}; expected E_i, PX_i, PY_i, PZ_i and {LABEL}; "
            "fetch it again"
        )
    momenta = _gathered(block, columns, names).reshape(len(block), len(numbers), 4)
    target = _gathered(block, columns, [LABEL])[:, 0]
    if momenta.dtype.kind not in "fiu" or target.dtype.kind not in "fiu":
        raise JetloomError(f"{raw}: the four-vectors or {LABEL} are not numbers; fetch it again")
    refuse(raw, ~np.isin(target, (0, 1)), first, f"{LABEL} is neither 0 nor 1")
    # NaN is not padding: it has to be found.
    real = ~(momenta[..., 3] <= 0)
    return jagged(raw, first, momenta, real, class_index(LABELS, dataset.classes)[target.astype(int)])


def _gathered(block: NDArray[np.void], columns: Columns, names: list[str]) -> NDArray[Any]:
    """Columns of these names, (jets, names)."""
    fields = list(dict.fromkeys(columns[name][0] for name in names))
    begin = dict(zip(fields, np.cumsum([0, *(block[field][:1].size for field in fields)]), strict=False))
    values = np.concatenate([block[field].reshape(len(block), -1) for field in fields], axis=1)
    return values[:, [begin[columns[name][0]] + columns[name][1] for name in names]]
