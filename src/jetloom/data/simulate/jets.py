"""Jets of a batch: anti-kT clustering, truth matching, substructure, and the columns of JetClass.

FastJet does the clustering, the soft drop and the N-subjettiness (Cacciari, Salam and Soyez, arXiv:1111.6097).
"""

import os
from functools import cache
from typing import NamedTuple

import awkward
import fastjet
import numpy as np
from awkward.contents import ListOffsetArray, NumpyArray, RecordArray
from awkward.index import Index64

from jetloom.data.axes import wrapped
from jetloom.data.simulate.detector import Flow
from jetloom.data.simulate.events import Targets
from jetloom.data.simulate.processes import CLASSES, Process, truth_code

RADIUS = 0.8
LOWEST_PT, HIGHEST_PT = 500.0, 1000.0
LARGEST_ETA = 2.0
SYMMETRY_CUT = 0.1
# Particles beyond are not stored.
_LARGEST_PZ = 10_000.0
_LARGEST_PARTICLE_ETA = 5.0


class _Jets(NamedTuple):
    """Four-vectors of jets; ``start`` and ``count`` say where the constituents of each lie in ``constituent``."""

    event: np.ndarray
    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    energy: np.ndarray
    constituent: np.ndarray
    count: np.ndarray  # type: ignore[assignment]  # a field, not the method of tuples


def find_jets(process: Process, events: int, flow: Flow, targets: Targets) -> dict[str, awkward.Array | np.ndarray]:
    """Selected and matched jets of a batch, as JetClass columns.

    A jet has 500 < pT < 1000 GeV and abs(eta) <= 2. A signal jet holds all visible decay products of a resonance
    within deltaR < 0.8 of its axis; jets of signal collisions that do not are dropped.

    Args:
        process: class of the collisions.
        events: collisions in the batch.
        flow: energy-flow candidates, ordered by event.
        targets: resonances of the collisions.

    Returns:
        ``part`` (jagged records, by falling pT), ``jet``, ``label``, ``aux`` columns named like the branches.
    """
    jets = _cluster(events, flow)
    good = (jets.pt > LOWEST_PT) & (jets.pt < HIGHEST_PT) & (np.abs(jets.eta) <= LARGEST_ETA)
    target = _match(jets, targets) if process.resonance else np.zeros(len(jets.pt), dtype=np.int64)
    jets = _keep(jets, good & (target >= 0))
    target = target[good & (target >= 0)]

    columns: dict[str, awkward.Array | np.ndarray] = {"part": _particles(jets, flow)}
    columns |= {f"label_{label}": np.full(len(target), label == process.label) for label in CLASSES}
    columns |= {
        "jet_pt": jets.pt,
        "jet_eta": jets.eta,
        "jet_phi": jets.phi,
        "jet_energy": jets.energy,
        "jet_nparticles": awkward.to_numpy(awkward.num(columns["part"])),
    }
    columns |= _substructure(jets, flow)
    if process.resonance:
        truth = {name: getattr(targets, name)[target] for name in ("eta", "phi", "pid", "pt")}
        code = targets.code[target]
    else:
        truth = {name: np.zeros(len(target)) for name in ("eta", "phi", "pid", "pt")}
        code = np.full(len(target), truth_code(process, []))
    return columns | {f"aux_genpart_{name}": values for name, values in truth.items()} | {"aux_truth_match": code}


def _momenta(flow: Flow, which: np.ndarray | slice, counts: np.ndarray) -> awkward.Array:
    """Lists of four-vectors for FastJet."""
    pt, eta, phi = flow.pt[which], flow.eta[which], flow.phi[which]
    energy = np.sqrt((pt * np.cosh(eta)) ** 2 + flow.mass[which] ** 2)
    columns = (pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), energy)
    record = RecordArray(
        [NumpyArray(column) for column in columns], ["px", "py", "pz", "E"], parameters={"__record__": "Momentum4D"}
    )
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return awkward.Array(ListOffsetArray(Index64(offsets), record))


def _cluster(events: int, flow: Flow) -> _Jets:
    _silence_banner()
    counts = np.bincount(flow.event, minlength=events)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, RADIUS)
    sequence = fastjet.ClusterSequence(_momenta(flow, slice(None), counts), definition)
    found = sequence.inclusive_jets(min_pt=LOWEST_PT)
    members = sequence.constituent_index(min_pt=LOWEST_PT)
    event = np.repeat(np.arange(events), awkward.to_numpy(awkward.num(found)))
    px, py, pz, energy = (awkward.to_numpy(awkward.flatten(found[name])) for name in ("px", "py", "pz", "E"))
    per_jet = awkward.flatten(members)
    count = awkward.to_numpy(awkward.num(per_jet))
    first = (np.cumsum(counts) - counts)[event]
    constituent = awkward.to_numpy(awkward.flatten(per_jet)) + np.repeat(first, count)
    pt = np.hypot(px, py)
    return _Jets(event, pt, np.arcsinh(pz / pt), np.arctan2(py, px), energy, constituent, count)


def _match(jets: _Jets, targets: Targets) -> np.ndarray:
    """Index of the resonance inside each jet (the nearest, if both tops are), -1 if there is none."""
    best = np.full(len(jets.pt), -1)
    nearest = np.full(len(jets.pt), np.inf)
    first = np.searchsorted(targets.event, jets.event, side="left")
    last = np.searchsorted(targets.event, jets.event, side="right")
    for offset in range(int((last - first).max(initial=0))):  # at most the two tops of an event
        candidate = np.flatnonzero(first + offset < last)
        target = (first + offset)[candidate]
        distance = np.hypot(
            targets.parton_eta[target] - jets.eta[candidate, None],
            wrapped(targets.parton_phi[target] - jets.phi[candidate, None]),
        )
        axis = np.hypot(targets.eta[target] - jets.eta[candidate], wrapped(targets.phi[target] - jets.phi[candidate]))
        better = (distance < RADIUS).all(axis=1) & (axis < nearest[candidate])
        best[candidate[better]] = target[better]
        nearest[candidate[better]] = axis[better]
    return best


def _keep(jets: _Jets, mask: np.ndarray) -> _Jets:
    members = jets.constituent[np.repeat(mask, jets.count)]
    event, pt, eta, phi, energy = (column[mask] for column in jets[:5])
    return _Jets(event, pt, eta, phi, energy, members, jets.count[mask])


def _particles(jets: _Jets, flow: Flow) -> awkward.Array:
    """The constituents as JetClass stores them: direction of the calorimeter entry, pT and phi of the momentum."""
    jet = np.repeat(np.arange(len(jets.pt)), jets.count)
    index = jets.constituent[np.lexsort((-flow.pt[jets.constituent], jet))]
    stored = (np.abs(flow.surface_eta[index]) <= _LARGEST_PARTICLE_ETA) & (
        flow.pt[index] * np.sinh(np.abs(flow.surface_eta[index])) <= _LARGEST_PZ
    )
    index, jet = index[stored], jet[stored]
    pt, eta, phi, pid = flow.pt[index], flow.surface_eta[index], flow.phi[index], np.abs(flow.pid[index])
    outward = np.where(jets.eta > 0, 1.0, -1.0)[jet]
    columns = {
        "px": pt * np.cos(phi),
        "py": pt * np.sin(phi),
        "pz": pt * np.sinh(eta),
        "energy": np.sqrt((pt * np.cosh(eta)) ** 2 + flow.mass[index] ** 2),
        "deta": outward * (eta - jets.eta[jet]),
        "dphi": wrapped(phi - jets.phi[jet]),
        "d0val": flow.d0[index],
        "d0err": flow.d0_error[index],
        "dzval": flow.dz[index],
        "dzerr": flow.dz_error[index],
        "charge": flow.charge[index],
        "isChargedHadron": np.isin(pid, (211, 321, 2212)),
        "isNeutralHadron": pid == 0,
        "isPhoton": pid == 22,
        "isElectron": pid == 11,
        "isMuon": pid == 13,
    }
    types = {name: np.int32 if name.startswith("is") else np.float32 for name in columns}
    record = RecordArray([NumpyArray(values.astype(types[name])) for name, values in columns.items()], list(columns))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(jet, minlength=len(jets.pt)))])
    return awkward.Array(ListOffsetArray(Index64(offsets), record))


def _substructure(jets: _Jets, flow: Flow) -> dict[str, np.ndarray]:
    """Soft-drop mass (beta 0, zcut 0.1) and tau 1 to 4 (beta 1, R0 0.8) of the clustered momenta."""
    names = ("jet_sdmass", "jet_tau1", "jet_tau2", "jet_tau3", "jet_tau4")
    if not len(jets.pt):
        return {name: np.zeros(0) for name in names}
    whole = fastjet.JetDefinition(fastjet.cambridge_algorithm, 1000.0)  # one jet of all particles
    sequence = fastjet.ClusterSequence(_momenta(flow, jets.constituent, jets.count), whole)
    groomed = sequence.exclusive_jets_softdrop_grooming(njets=1, beta=0.0, symmetry_cut=SYMMETRY_CUT, R0=RADIUS)
    tau = awkward.to_numpy(sequence.njettiness(njets=[1, 2, 3, 4]))
    return dict(zip(names, (awkward.to_numpy(groomed.msoftdrop), *tau.T), strict=True))


@cache
def _silence_banner() -> None:
    """FastJet prints its banner to the standard output once per process: let it do so into nothing."""
    stdout = os.dup(1)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 1)
        fastjet._swig.ClusterSequence.print_banner()
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
        os.close(sink)
