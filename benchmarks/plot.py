"""Pictures of docs/performance.md from the stored results: gains over the peers, cost against n, loss curves."""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from measure import RESULTS

IMAGES = Path(__file__).parents[1] / "docs/images"
ZOO = "contenders", "jetloom", "over_weaver"
CLAIMS = [
    ("ParT, training, batch 128", "part_train_128_cpu", ZOO, 2),
    ("ParT, inference, batch 512", "part_infer_512_cpu", ZOO, 2),
    ("ParT, inference, one jet", "part_infer_1_cpu", ZOO, 1.5),
    ("ParticleNet, training, batch 128", "particlenet_train_128_cpu", ZOO, 1.5),
    ("SAL-T, inference, batch 4096", "salt-infer", ("networks", "salt", "contenders", "jetloom", "over_peer"), 3),
    ("Linformer, inference, batch 4096", "salt-infer",
     ("networks", "linformer", "contenders", "jetloom", "over_peer"), 3),
]  # fmt: skip
"""Label, file, keys of the ratio with its spread, aim."""
COLORS = {"salt": "#bd1f01", "linformer": "#ffa90e", "transformer_small": "#832db6",
          "weaver-core": "#717581", "jetloom": "#3f90da", "jetloom, same batches": "#92dadd"}  # fmt: skip
TITLES = {"salt": "SAL-T", "linformer": "Linformer", "transformer_small": "full attention"}


def stored(name: str) -> dict[str, Any]:
    """One file of the results."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def gains() -> plt.Figure:
    """How many times the peer's speed, with the spread of the rounds and the aim."""
    figure, axis = plt.subplots(figsize=(8, 0.55 * len(CLAIMS) + 1.1))
    for place, (_, name, keys, aim) in enumerate(reversed(CLAIMS)):
        gain = stored(name)
        for key in keys:
            gain = gain[key]
        spread = [[gain["median"] - gain["low"]], [gain["high"] - gain["median"]]]
        axis.barh(place, gain["median"], height=0.55, color=COLORS["jetloom"])
        axis.errorbar(gain["median"], place, xerr=spread, color="black", capsize=3, linewidth=1)
        axis.plot([aim, aim], [place - 0.4, place + 0.4], color=COLORS["salt"], linewidth=2.5)
        right = max(gain["high"], aim)
        axis.annotate(f"{gain['median']:.3g}", (right, place), (6, 0), textcoords="offset points", va="center")
    axis.set_xscale("log")
    axis.set_xlim(0.8, axis.get_xlim()[1] * 1.3)
    axis.set_xticks([1, 2, 5, 10, 20], ["1", "2", "5", "10", "20"])
    axis.minorticks_off()
    axis.axvline(1, color="black", linewidth=1)
    axis.set_yticks(range(len(CLAIMS)), [claim[0] for claim in reversed(CLAIMS)])
    axis.set_xlabel("jets per second over the peer's (red: aim)")
    return figure


def length() -> plt.Figure:
    """Time of a forward pass and memory of a training pass against n."""
    found = stored("salt-length")
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    for name, title in TITLES.items():
        values = found["contenders"][name]
        batch = int(found["settings"]["batch"])
        axes[0].plot(found["lengths"], [1e6 * s / batch for s in values["seconds"]], "o-", color=COLORS[name],
                     label=f"{title}: $n^{{{values['exponent_time']:.2f}}}$")  # fmt: skip
        axes[1].plot(found["lengths"], [m / batch for m in values["training_peak_mb"]], "o-", color=COLORS[name],
                     label=f"{title}: $n^{{{values['exponent_memory']:.2f}}}$")  # fmt: skip
    for axis, label in zip(axes, ("µs per jet, forward", "MB per jet, training"), strict=True):
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks(found["lengths"], [str(n) for n in found["lengths"]])
        axis.set_xlabel("particles n")
        axis.set_ylabel(label)
        axis.legend(frameon=False, fontsize=9)
    return figure


def losses() -> plt.Figure:
    """Training loss of ParT against the step, each point the mean of five."""
    curves = stored("part_losses_128_cpu")["contenders"]
    figure, axis = plt.subplots(figsize=(6, 3.6))
    for name, curve in curves.items():
        means = [sum(curve[i : i + 5]) / 5 for i in range(0, len(curve) - 4, 5)]
        axis.plot([5 * i + 3 for i in range(len(means))], means, color=COLORS[name], label=name)
    axis.set_xlabel("step")
    axis.set_ylabel("cross entropy [nats]")
    axis.legend(frameon=False)
    return figure


def main() -> None:
    """Draw all."""
    plt.rcParams |= {"figure.constrained_layout.use": True, "savefig.dpi": 110, "font.size": 10}
    for draw in (gains, length, losses):
        draw().savefig(IMAGES / f"performance-{draw.__name__}.png", metadata={"Software": None})


if __name__ == "__main__":
    main()
