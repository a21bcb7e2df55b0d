"""Furniture data sets in the layout of ModelNet10 (Wu et al., CVPR 2015): ``<class>/<split>/<class>_0001.off``.

The meshes are ours, procedural; the class names and the file format are those of ModelNet10.
"""

import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jetloom.data.simulate.furniture import FURNITURE
from jetloom.data.simulate.primitives import Mesh, join, write_off
from jetloom.errors import JetloomError
from jetloom.system.files import appearing

CLASSES: tuple[str, ...] = tuple(FURNITURE)

_LOST_PART = 0.25
_HOLES = 0.2
_STRETCH = 0.15
_SHEAR = 0.05
_DENT = 0.01
_YAW = 0.25


def simulate(label: str, split: str, meshes: int, seed: int, output: Path) -> None:
    """Meshes of one class and split, as OFF files of triangles.

    Mesh number n depends on label, split, seed and n only: more meshes begin with the same ones.

    Args:
        label: class, for example ``night_stand``.
        split: for example ``train``; splits of different names are independent.
        meshes: how many.
        seed: of the data set.
        output: directory to write, ``<directory>/<class>/<split>``; an older one is replaced.

    Raises:
        JetloomError: unknown class, a split name that is no plain word, fewer than one mesh.
    """
    _check(label, split, meshes, seed)
    with appearing(output) as temporary:
        temporary.mkdir()
        for number in range(1, meshes + 1):
            write_off(make_mesh(label, split, seed, number), temporary / f"{label}_{number:04d}.off")


def simulate_set(labels: Sequence[str], splits: Sequence[str], meshes: int, seed: int, output_directory: Path) -> None:
    """Meshes of several classes and splits, one directory ``<class>/<split>`` for each, under one progress bar.

    Args:
        labels: classes; none means all ten.
        splits: names of the splits.
        meshes: per class and split.
        seed: of the data set.
        output_directory: where the classes' directories go.

    Raises:
        JetloomError: as for ``simulate``.
    """
    from rich.console import Console
    from rich.progress import track

    tasks = [(label, split) for label in (dict.fromkeys(labels) or CLASSES) for split in dict.fromkeys(splits)]
    if not tasks:
        raise JetloomError("no split to simulate; expected for example train, val, test")
    for label, split in tasks:
        _check(label, split, meshes, seed)
    for label, split in track(tasks, "simulate shapes", console=Console(stderr=True)):
        simulate(label, split, meshes, seed, output_directory / label / split)


def make_mesh(label: str, split: str, seed: int, number: int) -> Mesh:
    """One piece of furniture with its defects, z up."""
    draw = np.random.default_rng([seed, CLASSES.index(label), zlib.crc32(split.encode()), number])
    return _wear(FURNITURE[label](draw), draw)


def _wear(parts: list[Mesh], draw: np.random.Generator) -> Mesh:
    """Lost parts, holes, dents, a little stretch, shear and rotation."""
    if len(parts) > 1 and draw.random() < _LOST_PART:
        del parts[int(draw.integers(1, len(parts)))]
    vertices, faces = join(parts)
    if draw.random() < _HOLES:
        faces = faces[draw.random(len(faces)) > 0.05]
    size = np.ptp(vertices, axis=0).max()
    vertices = vertices * np.exp(_STRETCH * draw.standard_normal(3))
    vertices = vertices + _DENT * size * draw.standard_normal(vertices.shape)
    shear = _SHEAR * draw.standard_normal(2)
    vertices[:, :2] += vertices[:, 2:] * shear
    yaw = _YAW * draw.standard_normal()
    cosine, sine = np.cos(yaw), np.sin(yaw)
    vertices[:, :2] = vertices[:, :2] @ np.array([[cosine, sine], [-sine, cosine]])
    return Mesh(vertices, faces)


def _check(label: str, split: str, meshes: int, seed: int) -> None:
    if label not in CLASSES:
        raise JetloomError(f"unknown class {label!r}; allowed: {', '.join(CLASSES)}")
    if not re.fullmatch(r"[A-Za-z0-9_]+", split):
        raise JetloomError(f"split {split!r}: expected a plain word such as train")
    if meshes < 1:
        raise JetloomError(f"meshes: expected 1 or more per class, got {meshes}")
    if seed < 0:
        raise JetloomError(f"seed: expected 0 or more, got {seed}")
