"""Which collisions each JetClass class comes from, as Pythia 8 settings.

Every signal process makes the resonance recoil against a Z that decays to neutrinos (or, for top quarks, against the
other top), so that the jet stands alone as in JetClass (Qu, Li and Qian, arXiv:2202.03772, section 3). The processes
of JetClass itself were generated with MadGraph; the leading-order processes of Pythia are equivalent for the jet.
"""

from dataclasses import dataclass

QUARKS = frozenset({1, 2, 3, 4, 5})
LEPTONS = frozenset({11, 13})
GLUON = 21

# pT of the hard process, pT and axis asked of a resonance before and after initial-state radiation, in GeV.
# Jets begin at 500 GeV; the margins cost at most 3 % of them.
HARD_PT = 380.0
HARD_PT_WITH_NEUTRINO = 430.0
RECOIL_PT = 460.0
RECOIL_PT_WITH_NEUTRINO = 430.0

_COMMON = (
    "Print:quiet = on",
    "Beams:eCM = 13000.",
    "25:m0 = 125.",
    "6:m0 = 173.",
    "WeakZ0:gmZmode = 2",
    # Cheaper multiparton interactions without a visible change of the jets.
    "MultipartonInteractions:processLevel = 0",
    "MultipartonInteractions:pTmin = 1.0",
)
_INVISIBLE_Z = ("23:onMode = off", "23:onIfAny = 12 14 16")
_HIGGS = ("HiggsSM:ffbar2HZ = on", *_INVISIBLE_Z, "25:onMode = off")
_TOPS = ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", "24:onMode = off")
_W_TO_QUARKS = ("24:onMode = off", "24:onIfAny = 1 2 3 4 5")


@dataclass(frozen=True)
class Process:
    """One class of jets and the collisions that make it.

    Attributes:
        label: class, as in ``label_<class>`` of JetClass.
        prefix: process name in JetClass file names.
        settings: Pythia commands beyond the common ones.
        resonance: absolute PDG id of the particle inside the jet; 0 for QCD jets.
        partons: visible decay products (quarks, gluons, e, mu) that the jet must contain.
        leptons: how many of them are leptons, each with an invisible neutrino.
        parents: absolute PDG ids of the direct mothers of these products.
    """

    label: str
    prefix: str
    settings: tuple[str, ...]
    resonance: int = 0
    partons: int = 0
    leptons: int = 0
    parents: tuple[int, ...] = ()

    @property
    def hard_pt(self) -> float:
        """Smallest pT of the hard 2 -> 2 process, GeV."""
        return HARD_PT_WITH_NEUTRINO if self.leptons else HARD_PT

    @property
    def recoil_pt(self) -> float:
        """Smallest visible pT of the resonance after hard initial-state radiation, GeV."""
        return RECOIL_PT_WITH_NEUTRINO if self.leptons else RECOIL_PT

    def commands(self, seed: int, mpi: bool) -> list[str]:
        """All Pythia commands of a run.

        Args:
            seed: of Pythia's random numbers, 1 to 900 000 000.
            mpi: with multiparton interactions.
        """
        return [
            *_COMMON,
            *self.settings,
            f"PhaseSpace:pTHatMin = {self.hard_pt}",
            f"PartonLevel:MPI = {'on' if mpi else 'off'}",
            "Random:setSeed = on",
            f"Random:seed = {seed}",
        ]


PROCESSES: dict[str, Process] = {
    process.label: process
    for process in (
        Process(
            "QCD",
            "ZJetsToNuNu",
            ("WeakBosonAndParton:qqbar2gmZg = on", "WeakBosonAndParton:qg2gmZq = on", *_INVISIBLE_Z),
        ),
        Process("Hbb", "HToBB", (*_HIGGS, "25:onIfMatch = 5 -5"), 25, 2, 0, (25,)),
        Process("Hcc", "HToCC", (*_HIGGS, "25:onIfMatch = 4 -4"), 25, 2, 0, (25,)),
        Process("Hgg", "HToGG", (*_HIGGS, "25:onIfMatch = 21 21"), 25, 2, 0, (25,)),
        Process("H4q", "HToWW4Q", (*_HIGGS, "25:onIfMatch = 24 -24", *_W_TO_QUARKS), 25, 4, 0, (24,)),
        Process(
            "Hqql",
            "HToWW2Q1L",
            # Both W may decay either way: fixing one sign would make the lepton's charge a label.
            (*_HIGGS, "25:onIfMatch = 24 -24", "24:onMode = off", "24:onIfAny = 1 2 3 4 5 11 13"),
            25,
            3,
            1,
            (24,),
        ),
        Process(
            "Zqq",
            "ZToQQ",
            ("WeakDoubleBoson:ffbar2gmZgmZ = on", "23:onMode = off", "23:onIfAny = 1 2 3 4 5 12 14 16"),
            23,
            2,
            0,
            (23,),
        ),
        Process("Wqq", "WToQQ", ("WeakDoubleBoson:ffbar2ZW = on", *_INVISIBLE_Z, *_W_TO_QUARKS), 24, 2, 0, (24,)),
        Process("Tbqq", "TTBar", (*_TOPS, "24:onIfAny = 1 2 3 4 5"), 6, 3, 0, (6, 24)),
        Process("Tbl", "TTBarLep", (*_TOPS, "24:onIfAny = 11 13"), 6, 2, 1, (6, 24)),
    )
}

CLASSES: tuple[str, ...] = tuple(PROCESSES)
PROCESS_OF: dict[str, str] = {label: process.prefix for label, process in PROCESSES.items()}


def truth_code(process: Process, partons: list[int]) -> int:
    """``aux_truth_match`` of a matched jet, the numbering of JetClass' ntuple maker.

    Args:
        process: process of the jet.
        partons: absolute PDG ids of the matched decay products.
    """
    match process.label:
        case "QCD":
            return 50
        case "Hbb" | "Hcc" | "Hgg" | "H4q" | "Hqql":
            return {"Hbb": 41, "Hcc": 42, "Hgg": 44, "H4q": 45, "Hqql": 46}[process.label]
        case "Zqq":
            return {5: 31, 4: 32}.get(partons[0], 33)
        case "Wqq":
            return 21 if {4, 5} & set(partons) else 22
        case "Tbqq":
            # The b of the top itself is always there; charm tells the two codes apart.
            return 11 if 4 in partons else 12
        case "Tbl":
            return 15 if 11 in partons else 16
    raise ValueError(process.label)
