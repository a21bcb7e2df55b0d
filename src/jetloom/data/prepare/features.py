"""Particle features and their standardisation, as published with ParT (arXiv:2202.03772, its data configuration)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Flat = Mapping[str, NDArray[Any]]


class Standard(NamedTuple):
    """One input: ``clip((x - subtract) * multiply, low, high)``; without ``subtract`` the value as it is, unclipped."""

    name: str
    subtract: float | None = None
    multiply: float | None = None
    low: float | None = None
    high: float | None = None


KINEMATIC = [
    Standard("part_pt_log", 1.7, 0.7, -5, 5),
    Standard("part_e_log", 2.0, 0.7, -5, 5),
    Standard("part_logptrel", -4.7, 0.7, -5, 5),
    Standard("part_logerel", -4.7, 0.7, -5, 5),
    Standard("part_deltaR", 0.2, 4.0, -5, 5),
]
IDENTITY = [
    Standard("part_charge"),
    Standard("part_isChargedHadron"),
    Standard("part_isNeutralHadron"),
    Standard("part_isPhoton"),
    Standard("part_isElectron"),
    Standard("part_isMuon"),
]
DISPLACEMENT = [
    Standard("part_d0"),
    Standard("part_d0err", 0, 1, 0, 1),
    Standard("part_dz"),
    Standard("part_dzerr", 0, 1, 0, 1),
]
DIRECTION = [Standard("part_deta"), Standard("part_dphi")]

FEATURE_SETS: dict[str, list[Standard]] = {
    "kin": [*KINEMATIC, *DIRECTION],
    "kinpid": [*KINEMATIC, *IDENTITY, *DIRECTION],
    "kindisp": [*KINEMATIC, *DISPLACEMENT, *DIRECTION],
    "full": [*KINEMATIC, *IDENTITY, *DISPLACEMENT, *DIRECTION],
    # The paper scales by quantiles of its training file: 1 / 0.1211 for both angles; that of pT is not known.
    "salt_hls4ml": [
        Standard("part_pt", 0, 1 / 30, -1e3, 1e3),
        Standard("part_deta", 0, 1 / 0.1211, -1e3, 1e3),
        Standard("part_dphi", 0, 1 / 0.1211, -1e3, 1e3),
    ],
    "salt_top": [*DIRECTION, Standard("part_ptrel")],
    "salt_qg": [Standard("part_pt", 7.0, 1 / 5.56, -1e3, 1e3), *DIRECTION],
    "jetclr": [Standard("part_pt", 0, 1 / 600, -1e3, 1e3), *DIRECTION],
    "xyz": [Standard("points_x"), Standard("points_y"), Standard("points_z")],
    "codes": [Standard("part_code")],
}
"""7, 13 and 17 inputs per particle, in the order and with the constants of the published checkpoints of ParT, and 11 of
them, without charge and types, as arXiv:2608.02735 compares; three inputs as the author code of SAL-T
(arXiv:2510.23641) makes them of each data set, and as that of JetCLR (arXiv:2108.04253) does; three per point; the code
of a particle."""

KINEMATIC_COLUMNS = ["part_px", "part_py", "part_pz", "part_energy", "part_deta", "part_dphi"]
DISPLACEMENT_COLUMNS = ["part_d0val", "part_d0err", "part_dzval", "part_dzerr"]
RAW_COLUMNS: dict[str, list[str]] = {
    **dict.fromkeys(("kin", "salt_hls4ml", "salt_top", "salt_qg", "jetclr"), KINEMATIC_COLUMNS),
    "kinpid": [*KINEMATIC_COLUMNS, *(item.name for item in IDENTITY)],
    "kindisp": [*KINEMATIC_COLUMNS, *DISPLACEMENT_COLUMNS],
    "full": [*KINEMATIC_COLUMNS, *(item.name for item in IDENTITY), *DISPLACEMENT_COLUMNS],
    "xyz": ["points_x", "points_y", "points_z"],
    "codes": ["part_code"],
}
"""Canonical particle columns that each feature set is computed from."""


def standardised(
    feature_set: str,
    particles: Flat,
    jet_pt: NDArray[np.floating] | None,
    jet_energy: NDArray[np.floating] | None,
) -> NDArray[np.float32]:
    """Inputs of a model for a flat list of particles.

    Args:
        feature_set: key of ``FEATURE_SETS``.
        particles: canonical columns, each of shape (P,); GeV, mm, radians.
        jet_pt: pT of each particle's jet, (P,), GeV; None for points.
        jet_energy: energy of each particle's jet, (P,), GeV; None for points.

    Returns:
        (P, F) float32; what is not a number is 0, the logarithm of nothing the lower end of its range.
    """
    columns = dict(particles)
    if feature_set != "xyz":
        pt = np.hypot(particles["part_px"], particles["part_py"])
        with np.errstate(divide="ignore", invalid="ignore"):
            columns["part_pt"], columns["part_ptrel"] = pt, pt / jet_pt
            columns["part_pt_log"] = np.log(pt)
            columns["part_e_log"] = np.log(particles["part_energy"])
            columns["part_logptrel"] = np.log(pt / jet_pt)
            columns["part_logerel"] = np.log(particles["part_energy"] / jet_energy)
        columns["part_deltaR"] = np.hypot(particles["part_deta"], particles["part_dphi"])
    if "part_d0val" in RAW_COLUMNS[feature_set]:
        columns["part_d0"] = np.tanh(particles["part_d0val"])
        columns["part_dz"] = np.tanh(particles["part_dzval"])
    table = FEATURE_SETS[feature_set]
    result = np.empty((len(next(iter(particles.values()))), len(table)), dtype=np.float32)
    for index, (name, subtract, multiply, low, high) in enumerate(table):
        value = columns[name]
        if subtract is not None and multiply is not None:
            value = np.clip((value - subtract) * multiply, low, high)
        result[:, index] = value
    bad = ~np.isfinite(result)
    if bad.any():
        result[bad] = 0.0
    return result
