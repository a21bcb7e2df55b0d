"""Collisions from Pythia 8, unpacked in batches into flat arrays.

Pythia 8.3: Bierlich et al., arXiv:2203.11601.
"""

from collections.abc import Iterator
from typing import NamedTuple

import awkward
import numpy as np
import pythia8mc

from jetloom.data.simulate.hooks import Vetoes
from jetloom.data.simulate.processes import Process, truth_code

# Part of what a seed means: another size changes the draws of the detector.
BATCH = 50
_NEUTRINOS = np.array([12, 14, 16])


class Particles(NamedTuple):
    """Final visible particles of a batch of collisions, flat arrays of one length, ordered by event.

    Momenta and masses in GeV, production vertex in mm.
    """

    event: np.ndarray
    pid: np.ndarray
    charge: np.ndarray
    px: np.ndarray
    py: np.ndarray
    pz: np.ndarray
    mass: np.ndarray
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray


class Targets(NamedTuple):
    """What signal jets must contain, one row per resonance of a batch, ordered by event.

    ``parton_eta`` and ``parton_phi`` are (resonances, partons); the other arrays (resonances,). ``pt``, ``eta``,
    ``phi`` and ``pid`` are those of the last copy of the resonance.
    """

    event: np.ndarray
    pid: np.ndarray
    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    code: np.ndarray
    parton_eta: np.ndarray
    parton_phi: np.ndarray


class Collisions(NamedTuple):
    """A batch of collisions."""

    events: int
    particles: Particles
    targets: Targets


def collisions(process: Process, seed: int, mpi: bool) -> Iterator[Collisions]:
    """Endless batches of collisions that are likely to hold a jet of a class.

    Args:
        process: which class.
        seed: of Pythia, 1 to 900 000 000.
        mpi: with multiparton interactions.
    """
    generator = pythia8mc.Pythia("", False)
    for command in process.commands(seed, mpi):
        if not generator.readString(command):
            raise RuntimeError(f"Pythia does not know the setting {command!r}")
    vetoes = Vetoes(process)  # must live as long as the generator
    generator.setUserHooksPtr(vetoes)
    if not generator.init():
        raise RuntimeError(f"Pythia does not start for {process.label}")
    charges: dict[int, int] = {}
    while True:
        yield _unpack(process, generator.nextBatch(BATCH), generator, charges)


def _unpack(
    process: Process, batch: awkward.Array, generator: "pythia8mc.Pythia", charges: dict[int, int]
) -> Collisions:
    counts = awkward.to_numpy(awkward.num(batch.prt))
    first = np.concatenate([[0], np.cumsum(counts)])
    rows = awkward.flatten(batch.prt)
    event = np.repeat(np.arange(len(counts)), counts)
    pid, status = awkward.to_numpy(rows.id), awkward.to_numpy(rows.status)
    px, py, pz = (awkward.to_numpy(rows.p[axis]) for axis in ("px", "py", "pz"))

    final = np.flatnonzero((status > 0) & ~np.isin(np.abs(pid), _NEUTRINOS))
    vertex = rows.vProd[final]
    position = {axis: awkward.to_numpy(awkward.fill_none(vertex[f"p{axis}"], 0.0)) for axis in "xyz"}
    species, inverse = np.unique(pid[final], return_inverse=True)
    for number in species.tolist():
        if number not in charges:
            charges[number] = round(generator.particleData.chargeType(number) / 3)
    charge = np.array([charges[number] for number in species.tolist()], dtype=np.int64)[inverse]
    particles = Particles(
        event[final], pid[final], charge, px[final], py[final], pz[final], awkward.to_numpy(rows.m)[final], **position
    )
    mother = awkward.to_numpy(rows.mother1) + first[event]
    return Collisions(len(counts), particles, _targets(process, event, pid, status, mother, px, py, pz))


def _targets(
    process: Process,
    event: np.ndarray,
    pid: np.ndarray,
    status: np.ndarray,
    mother: np.ndarray,
    px: np.ndarray,
    py: np.ndarray,
    pz: np.ndarray,
) -> Targets:
    """Resonances with all their visible decay products (rows of |status| 23)."""
    if process.resonance == 0:
        none = np.zeros(0)
        return Targets(none.astype(int), none, none, none, none, none, np.zeros((0, 0)), np.zeros((0, 0)))
    absolute = np.abs(pid)
    visible = (absolute <= 5) | (absolute == 11) | (absolute == 13) | (absolute == 21)
    product = np.flatnonzero((np.abs(status) == 23) & visible & np.isin(absolute[mother], np.array(process.parents)))
    # The two tops of an event are told apart by sign: t -> b W+, and W+ has the sign of t.
    sign = np.sign(pid[mother[product]]) if process.resonance == 6 else np.ones(len(product), int)
    key = 2 * event[product] + (sign < 0)
    order = np.argsort(key, kind="stable")
    product, key = product[order], key[order]
    found, start, count = np.unique(key, return_index=True, return_counts=True)
    start, found = start[count == process.partons], found[count == process.partons]
    product = product[start[:, None] + np.arange(process.partons)]

    if process.resonance == 23:
        # The other Z of the event decays to neutrinos: the right one is the mother of the quarks.
        last = mother[product[:, 0]]
    else:
        copies = np.flatnonzero(absolute == process.resonance)
        own = 2 * event[copies] + ((pid[copies] < 0) if process.resonance == 6 else 0)
        order = np.argsort(own, kind="stable")
        last = copies[order][np.searchsorted(own[order], found, side="right") - 1]
    pt = np.hypot(px, py)
    return Targets(
        event=found // 2,
        pid=pid[last],
        pt=pt[last],
        eta=np.arcsinh(pz[last] / pt[last]),
        phi=np.arctan2(py[last], px[last]),
        code=np.array([truth_code(process, group) for group in absolute[product].tolist()]),
        parton_eta=np.arcsinh(pz[product] / pt[product]),
        parton_phi=np.arctan2(py[product], px[product]),
    )
