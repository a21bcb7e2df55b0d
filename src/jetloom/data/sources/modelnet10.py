"""ModelNet10 meshes (and those of ``jetloom simulate shapes-sim``): a directory of OFF files of one class and split."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import awkward
import numpy as np
from numpy.typing import NDArray

from jetloom.config import Dataset
from jetloom.errors import JetloomError

LARGEST = 200_000_000
"""Bytes of a mesh; its lines need about ten times as much memory."""


def chunks(raw: Path, dataset: Dataset, size: int) -> Iterator[awkward.Array]:
    """Stream point clouds sampled on the meshes of ``<class>/<split>``.

    Args:
        raw: the directory; its parent's name is the class.
        dataset: classes, points per cloud (``max_particles``) and seed.
        size: meshes per chunk.

    Raises:
        JetloomError: no such directory, no OFF files in it, or a file that is no mesh with a surface.
    """
    if not raw.is_dir():
        raise JetloomError(f"{raw}: no such directory; expected <class>/<split> with OFF files")
    files = sorted(raw.glob("*.off"))
    if not files:
        raise JetloomError(f"{raw}: no OFF files; expected <class>_0001.off and so on")
    name = raw.parent.name
    label = dataset.classes.index(name) if name in dataset.classes else -1
    for start in range(0, len(files), size):
        some = files[start : start + size]
        points = np.stack([_sampled(file, dataset) for file in some])
        columns = {
            f"points_{axis}": awkward.from_regular(np.ascontiguousarray(points[..., index]))
            for index, axis in enumerate("xyz")
        }
        yield awkward.zip(columns | {"label": np.full(len(some), label)}, depth_limit=1)


def _sampled(file: Path, dataset: Dataset) -> NDArray[np.float32]:
    vertices, triangles = read_off(file)
    try:
        return cloud(vertices, triangles, dataset.max_particles, _seed(dataset.seed, file))
    except JetloomError as error:
        raise JetloomError(f"{file}: {error}; leave the file out or mend it") from None


def read_off(file: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Vertices (V, 3) and triangles (T, 3) of an OFF file; polygons are cut into fans.

    The header may be glued to the counts (``OFF123 456 0``): it is in many files of ModelNet.

    Raises:
        JetloomError: not OFF, too large, truncated, a vertex that is not finite or a face that names one that does
            not exist.
    """
    try:
        if (size := file.stat().st_size) > LARGEST:
            raise JetloomError(f"{file}: {size} bytes; a mesh of more than {LARGEST} is not read; leave the file out")
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise JetloomError(f"{file}: not a readable OFF file; fetch it again") from None
    lines = [line for line in (line.partition("#")[0].strip() for line in text.splitlines()) if line]
    if not lines or not lines[0].upper().startswith("OFF"):
        raise JetloomError(f"{file}: not an OFF file; expected the word OFF in the first line")
    lines[0] = lines[0][3:].strip()
    lines = lines if lines[0] else lines[1:]
    try:
        n_vertices, n_faces = (int(word) for word in lines[0].split()[:2])
        if n_vertices < 0 or n_faces < 0:
            raise ValueError
        rows = lines[1 : 1 + n_vertices + n_faces]
        if len(rows) != n_vertices + n_faces:
            raise JetloomError(
                f"{file}: truncated; the header announces {n_vertices} vertices and {n_faces} faces, "
                f"{len(rows)} lines follow; fetch it again"
            )
        vertices = np.array([row.split()[:3] for row in rows[:n_vertices]], dtype=float).reshape(n_vertices, 3)
        triangles = _triangles([row.split() for row in rows[n_vertices:]])
    except (ValueError, IndexError):
        raise JetloomError(
            f"{file}: damaged; expected OFF, two counts, then vertices of three numbers and faces of a count and that "
            "many indices; fetch it again"
        ) from None
    if not np.isfinite(vertices).all():
        raise JetloomError(
            f"{file}: vertex {int((~np.isfinite(vertices)).any(axis=1).argmax())} is not finite; "
            "leave the file out or mend it"
        )
    if len(triangles) and (triangles.min() < 0 or triangles.max() >= n_vertices):
        wrong = triangles.min() if triangles.min() < 0 else triangles.max()
        raise JetloomError(
            f"{file}: a face names vertex {wrong}; there are {n_vertices}, counted from 0; "
            "leave the file out or mend it"
        )
    return vertices, triangles


def _triangles(faces: list[list[str]]) -> NDArray[np.int64]:
    if all(face[0] == "3" for face in faces):
        # Nearly always; a loop in Python would take seconds for a fine mesh.
        return np.array([face[1:4] for face in faces], dtype=np.int64).reshape(len(faces), 3)
    fans = []
    for face in faces:
        corners = [int(word) for word in face[1 : 1 + int(face[0])]]
        if len(corners) != int(face[0]):
            raise ValueError
        fans += [(corners[0], corners[i], corners[i + 1]) for i in range(1, len(corners) - 1)]
    return np.array(fans, dtype=np.int64).reshape(-1, 3)


def cloud(vertices: NDArray[np.float64], triangles: NDArray[np.int64], points: int, seed: int) -> NDArray[np.float32]:
    """Points drawn uniformly on the surface, centred and scaled to the unit sphere, (points, 3) float32.

    Raises:
        JetloomError: the mesh has no surface, or a boundless one.
    """
    corners = vertices[triangles]
    with np.errstate(over="ignore", invalid="ignore"):
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        total = area.sum()
    if not total > 0 or not np.isfinite(total):
        raise JetloomError("no surface, every face has zero area" if total == 0 else "a surface too large to measure")
    generator = np.random.default_rng(seed)
    chosen = corners[generator.choice(len(area), points, p=area / total)]
    # Folding the unit square along its diagonal makes the weights uniform on the triangle.
    u, v = generator.random((2, points, 1))
    fold = u + v > 1
    u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
    sampled = chosen[:, 0] + u * (chosen[:, 1] - chosen[:, 0]) + v * (chosen[:, 2] - chosen[:, 0])
    sampled -= sampled.mean(axis=0)
    # A single point stays in the centre.
    radius = np.linalg.norm(sampled, axis=1).max() or 1.0
    scaled: NDArray[np.float32] = (sampled / radius).astype(np.float32)
    return scaled


def _seed(seed: int, file: Path) -> int:
    key = f"{seed}/{file.parent.parent.name}/{file.parent.name}/{file.name}"
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8])
