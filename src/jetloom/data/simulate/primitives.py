"""Triangle meshes from boxes, frustums and tubes, and the OFF format.

A mesh is a pair: vertices (V, 3) float64 and triangles (T, 3) int64. z points up, the front is towards -y.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Mesh(NamedTuple):
    """Vertices (V, 3) and triangles (T, 3), outward by the right-hand rule."""

    vertices: np.ndarray
    faces: np.ndarray


_CORNERS = np.array([[x, y, z] for z in (0, 1) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
_BOX = np.array(
    [
        [0, 2, 3], [0, 3, 1], [4, 5, 7], [4, 7, 6], [0, 1, 5], [0, 5, 4],
        [2, 6, 7], [2, 7, 3], [0, 4, 6], [0, 6, 2], [1, 3, 7], [1, 7, 5],
    ]
)  # fmt: skip
_SIDES = 20


def box(x: float, y: float, z: float, width: float, depth: float, height: float) -> Mesh:
    """A box on the point (x, y, z): centred in x and y, from z up."""
    return Mesh(_CORNERS * (width, depth, height) + (x, y, z), _BOX)


def frustum(
    x: float,
    y: float,
    z: float,
    bottom: tuple[float, float],
    top: tuple[float, float],
    height: float,
    shift: float = 0.0,
) -> Mesh:
    """An elliptic frustum with caps; the half axes are those of bottom and top, the top is shifted along y."""
    angle = np.arange(_SIDES) * 2 * np.pi / _SIDES
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.column_stack([ring * bottom + (x, y), np.full(_SIDES, z)])
    upper = np.column_stack([ring * top + (x, y + shift), np.full(_SIDES, z + height)])
    here = np.arange(_SIDES)
    there = (here + 1) % _SIDES
    fan = np.arange(1, _SIDES - 1)
    faces = np.concatenate(
        [
            np.column_stack([here, there, there + _SIDES]),
            np.column_stack([here, there + _SIDES, here + _SIDES]),
            np.column_stack([np.zeros_like(fan), fan + 1, fan]),
            np.column_stack([np.full_like(fan, _SIDES), fan + _SIDES, fan + 1 + _SIDES]),
        ]
    )
    return Mesh(np.concatenate([lower, upper]), faces)


def cylinder(x: float, y: float, z: float, radius: float, height: float) -> Mesh:
    """A round upright cylinder."""
    return frustum(x, y, z, (radius, radius), (radius, radius), height)


def ring(x: float, y: float, z: float, outer: tuple[float, float], thickness: float, height: float) -> Mesh:
    """An elliptic tube: outer wall, inner wall and the two rims."""
    angle = np.arange(_SIDES) * 2 * np.pi / _SIDES
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    inner = (max(outer[0] - thickness, 0.01), max(outer[1] - thickness, 0.01))
    levels = [(outer, z), (outer, z + height), (inner, z + height), (inner, z)]
    vertices = [np.column_stack([circle * axes + (x, y), np.full(_SIDES, level)]) for axes, level in levels]
    here = np.arange(_SIDES)
    there = (here + 1) % _SIDES
    faces = []
    for level in range(4):
        low, high = level * _SIDES, (level + 1) % 4 * _SIDES
        faces.append(np.column_stack([here + low, there + low, there + high]))
        faces.append(np.column_stack([here + low, there + high, here + high]))
    return Mesh(np.concatenate(vertices), np.concatenate(faces))


def join(parts: Sequence[Mesh]) -> Mesh:
    """One mesh of several parts."""
    offsets = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    return Mesh(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + offset for part, offset in zip(parts, offsets, strict=True)]),
    )


def write_off(mesh: Mesh, path: Path) -> None:
    """Write a mesh in the Object File Format of ModelNet."""
    lines = ["OFF", f"{len(mesh.vertices)} {len(mesh.faces)} 0"]
    lines += [f"{x:.6g} {y:.6g} {z:.6g}" for x, y, z in mesh.vertices.tolist()]
    lines += [f"3 {a} {b} {c}" for a, b, c in mesh.faces.tolist()]
    path.write_text("\n".join(lines) + "\n")
