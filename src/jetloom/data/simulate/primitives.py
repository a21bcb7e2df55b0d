"""Triangle meshes from boxes, frustums and tubes, and the OFF format.

A mesh is a pair: vertices (V, 3) float64 and triangles (T, 3) int64. z points up, the front is towards -y.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy


class Mesh(NamedTuple):
    """Vertices (V, 3) and triangles (T, 3), outward by the right-hand rule."""

    vertices: numpy.ndarray
    faces: numpy.ndarray


_CORNERS = numpy.array([[x, y, z] for z in (0, 1) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
_BOX = numpy.array(
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
    angle = numpy.arange(_SIDES) * 2 * numpy.pi / _SIDES
    ring = numpy.stack([numpy.cos(angle), numpy.sin(angle)], axis=1)
    lower = numpy.column_stack([ring * bottom + (x, y), numpy.full(_SIDES, z)])
    upper = numpy.column_stack([ring * top + (x, y + shift), numpy.full(_SIDES, z + height)])
    here = numpy.arange(_SIDES)
    there = (here + 1) % _SIDES
    fan = numpy.arange(1, _SIDES - 1)
    faces = numpy.concatenate(
        [
            numpy.column_stack([here, there, there + _SIDES]),
            numpy.column_stack([here, there + _SIDES, here + _SIDES]),
            numpy.column_stack([numpy.zeros_like(fan), fan + 1, fan]),
            numpy.column_stack([numpy.full_like(fan, _SIDES), fan + _SIDES, fan + 1 + _SIDES]),
        ]
    )
    return Mesh(numpy.concatenate([lower, upper]), faces)


def cylinder(x: float, y: float, z: float, radius: float, height: float) -> Mesh:
    """A round upright cylinder."""
    return frustum(x, y, z, (radius, radius), (radius, radius), height)


def ring(x: float, y: float, z: float, outer: tuple[float, float], thickness: float, height: float) -> Mesh:
    """An elliptic tube: outer wall, inner wall and the two rims."""
    angle = numpy.arange(_SIDES) * 2 * numpy.pi / _SIDES
    circle = numpy.stack([numpy.cos(angle), numpy.sin(angle)], axis=1)
    inner = (max(outer[0] - thickness, 0.01), max(outer[1] - thickness, 0.01))
    levels = [(outer, z), (outer, z + height), (inner, z + height), (inner, z)]
    vertices = [numpy.column_stack([circle * axes + (x, y), numpy.full(_SIDES, level)]) for axes, level in levels]
    here = numpy.arange(_SIDES)
    there = (here + 1) % _SIDES
    faces = []
    for level in range(4):
        low, high = level * _SIDES, (level + 1) % 4 * _SIDES
        faces.append(numpy.column_stack([here + low, there + low, there + high]))
        faces.append(numpy.column_stack([here + low, there + high, here + high]))
    return Mesh(numpy.concatenate(vertices), numpy.concatenate(faces))


def join(parts: Sequence[Mesh]) -> Mesh:
    """One mesh of several parts."""
    offsets = numpy.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    return Mesh(
        numpy.concatenate([part.vertices for part in parts]),
        numpy.concatenate([part.faces + offset for part, offset in zip(parts, offsets, strict=True)]),
    )


def write_off(mesh: Mesh, path: Path) -> None:
    """Write a mesh in the Object File Format of ModelNet."""
    lines = ["OFF", f"{len(mesh.vertices)} {len(mesh.faces)} 0"]
    lines += [f"{x:.6g} {y:.6g} {z:.6g}" for x, y, z in mesh.vertices.tolist()]
    lines += [f"3 {a} {b} {c}" for a, b, c in mesh.faces.tolist()]
    path.write_text("\n".join(lines) + "\n")
