"""Names for people: classes and observers in mathematics and in plain text."""

CLASSES = {
    "QCD": ("QCD", "QCD"),
    "Hbb": (r"$H \to b\bar{b}$", "H→bb̄"),
    "Hcc": (r"$H \to c\bar{c}$", "H→cc̄"),
    "Hgg": (r"$H \to gg$", "H→gg"),
    "H4q": (r"$H \to 4q$", "H→4q"),
    "Hqql": (r"$H \to \ell\nu qq$'", "H→ℓνqq′"),
    "Zqq": (r"$Z \to q\bar{q}$", "Z→qq̄"),
    "Wqq": (r"$W \to qq$'", "W→qq′"),
    "Tbqq": (r"$t \to bqq$'", "t→bqq′"),
    "Tbl": (r"$t \to b\ell\nu$", "t→bℓν"),
}

OBSERVERS = {
    "jet_nparticles": (r"Particles in the jet", "multiplicity"),
    "jet_pt": (r"Jet $p_\mathrm{T}$ [GeV]", "pT"),
    "jet_mass": (r"Jet mass [GeV]", "mass"),
    "jet_sdmass": (r"Soft-drop mass [GeV]", "soft-drop mass"),
    "aux_genpart_pt": (r"True $p_\mathrm{T}$ [GeV]", "true pT of the particle"),
}


def in_figure(name: str) -> str:
    """A class in mathematics."""
    return CLASSES[name][0] if name in CLASSES else name.replace("_", " ")


def in_text(name: str) -> str:
    """A class in plain text."""
    return CLASSES[name][1] if name in CLASSES else name.replace("_", " ")


def observer_in_text(name: str) -> str:
    """An observer in plain text."""
    return OBSERVERS[name][1] if name in OBSERVERS else name.replace("_", " ")
