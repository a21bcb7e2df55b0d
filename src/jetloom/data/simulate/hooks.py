"""Early vetoes: hopeless collisions are dropped before the costly steps of Pythia.

Multiparton interactions and hadronisation take more than 80 % of the time, so a collision that cannot give a jet
above 500 GeV is dropped twice: right after the hard process, and when the evolution has come down to 20 GeV. Jets lost:
1 to 3 %, those with hard initial-state radiation inside the cone.
"""

import math

import pythia8mc

from jetloom.data.simulate.processes import GLUON, LEPTONS, QUARKS, Process
from jetloom.errors import JetloomError

# Resonance pT and |eta| in the hard process, and the largest distance of its decay products from their axis.
HARD_RESONANCE_PT = 340.0
HARD_VISIBLE_PT = 320.0
HARD_ETA = 2.4
HARD_CONE = 1.0
VETO_SCALE = 20.0
PARTON_CONE = 0.9
SEED_PT = 50.0
MOST_VETOES = 1_000_000
_PRODUCTS = QUARKS | LEPTONS | {GLUON}


class Vetoes(pythia8mc.UserHooks):  # type: ignore[misc]  # Pythia has no types
    """Vetoes of one process.

    The Pythia object holds no reference to it: keep one, or the vetoes stop without a word.
    """

    def __init__(self, process: Process) -> None:
        super().__init__()
        self.process = process
        self.candidates: list[tuple[int, float]] = []
        self.vetoes_in_a_row = 0

    def canVetoProcessLevel(self) -> bool:
        """Look at the hard process if there is a resonance."""
        return self.process.resonance != 0

    def canVetoPT(self) -> bool:
        """Look once more in the middle of the evolution."""
        return True

    def scaleVetoPT(self) -> float:
        """Evolution scale of the second look, GeV."""
        return VETO_SCALE

    def doVetoProcessLevel(self, process: "pythia8mc.Event") -> bool:
        """Drop collisions whose resonances are soft, forward, too wide for one jet, or decay to something else."""
        groups: dict[int, list[pythia8mc.Particle]] = {}
        for index in range(5, process.size()):
            particle = process.at(index)
            if particle.status() <= 0 or particle.idAbs() not in _PRODUCTS:
                continue
            root = particle.mother1()
            while (above := process.at(root).mother1()) > 4:
                root = above
            if process.at(root).idAbs() == self.process.resonance:
                groups.setdefault(root, []).append(particle)
        self.candidates = []
        if not (self.process.resonance == 23 and len(groups) != 1):
            for root, products in groups.items():
                if self._is_wanted(products) and (fraction := _visible_fraction(process.at(root), products)):
                    self.candidates.append((root, fraction))
        return self._count(not self.candidates)

    def doVetoPT(self, position: int, event: "pythia8mc.Event") -> bool:
        """Drop collisions in which radiation took the pT that a jet needs.

        Position 5 is the evolution of resonance decays: the collision is complete and was judged before.
        """
        if position == 5:
            return False
        if self.process.resonance == 0:
            return self._count(_hardest_cone(event) < self.process.recoil_pt)
        for index, fraction in self.candidates:
            while (resonance := event.at(index)).status() < 0 and resonance.daughter1() > 0:
                index = resonance.daughter1()
            if resonance.pT() * fraction > self.process.recoil_pt:
                return self._count(False)
        return self._count(True)

    def _is_wanted(self, products: list["pythia8mc.Particle"]) -> bool:
        leptons = sum(product.idAbs() in LEPTONS for product in products)
        return len(products) == self.process.partons and leptons == self.process.leptons

    def _count(self, veto: bool) -> bool:
        self.vetoes_in_a_row = self.vetoes_in_a_row + 1 if veto else 0
        if self.vetoes_in_a_row > MOST_VETOES:
            raise JetloomError(f"{self.process.label}: {MOST_VETOES} collisions in a row without a usable jet")
        return veto


def _visible_fraction(resonance: "pythia8mc.Particle", products: list["pythia8mc.Particle"]) -> float:
    """Visible part of the resonance's pT, or 0 if it cannot become a jet."""
    px, py, pz = (sum(getattr(product, axis)() for product in products) for axis in ("px", "py", "pz"))
    visible = math.hypot(px, py)
    if min(visible / HARD_VISIBLE_PT, resonance.pT() / HARD_RESONANCE_PT) < 1 or abs(pz) > visible * math.sinh(
        HARD_ETA
    ):
        return 0.0
    eta, phi = math.asinh(pz / visible), math.atan2(py, px)
    spread = max(_distance(product.eta() - eta, product.phi() - phi) for product in products)
    return visible / resonance.pT() if spread < HARD_CONE else 0.0


def _hardest_cone(event: "pythia8mc.Event") -> float:
    """Largest pT of a cone of partons around a parton, GeV."""
    partons = []
    for index in range(5, event.size()):
        particle = event.at(index)
        if particle.status() > 0 and particle.isParton():
            partons.append((particle.pT(), particle.eta(), particle.phi(), particle.px(), particle.py()))
    hardest = 0.0
    for pt, eta, phi, _, _ in partons:
        if pt > SEED_PT:
            inside = [parton for parton in partons if _distance(parton[1] - eta, parton[2] - phi) < PARTON_CONE]
            hardest = max(hardest, math.hypot(sum(p[3] for p in inside), sum(p[4] for p in inside)))
    return hardest


def _distance(deta: float, dphi: float) -> float:
    return math.hypot(deta, math.remainder(dphi, 2 * math.pi))
