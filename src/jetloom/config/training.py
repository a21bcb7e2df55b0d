"""``training``: how a model learns, and on what it runs meanwhile."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from jetloom.config.effects import read_by, remakes
from jetloom.config.section import Count, Labels, Strict
from jetloom.errors import JetloomError


class Reweighting(Strict):
    """Equally many jets of each class in each bin, by leaving jets out of a pass."""

    observer: str | None = Field(None, description="jet column of the bins, such as jet_pt; default: classes only")
    edges: list[float] = Field([], description="rising edges between the bins; what lies outside is two bins more")
    least: float = Field(0.01, gt=0, le=1, description="smallest part of the jets of a bin that a pass has")

    @model_validator(mode="after")
    def _bins(self) -> "Reweighting":
        if (self.observer is None) != (not self.edges):
            raise ValueError("observer and edges belong together; give both or none")
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("edges must rise")
        return self


class Training(Strict, json_schema_extra=remakes("training")):
    """The recipe of one training."""

    epochs: int = Field(20, ge=1, description="passes over samples_per_epoch jets")
    batch_size: int = Field(128, ge=1, description="jets per step and device")
    samples_per_epoch: int | None = Field(None, ge=1, description="jets per epoch; default: the whole training split")
    validation_samples: int | None = Field(None, ge=1, description="jets per validation; default: the whole split")
    optimizer: Literal["adamw", "adam", "ranger"] = Field("adamw", description="ranger: Lookahead around RAdam")
    learning_rate: float = Field(1e-3, gt=0, description="the highest one of the schedule")
    weight_decay: float = Field(0.0, ge=0, description="decoupled; not on biases, norms, 1-d parameters and tokens")
    schedule: Literal["constant", "flat_decay", "cosine", "restarts", "steps"] = Field(
        "cosine",
        description="flat_decay: the last 30 % of epochs fall to 1 % of the rate (ParT); restarts: cosines of 4, 8, "
        "16 ... epochs, then four epochs of halving (LorentzNet); steps: 0.7 times the rate after each 5M jets (PCT)",
    )
    warmup_fraction: float = Field(0.0, ge=0, lt=1, description="part of all steps with linearly rising rate")
    gradient_clip: float | None = Field(None, gt=0, description="largest gradient norm")
    # YAML reads 32 as a number.
    precision: Annotated[
        Literal["auto", "32", "tf32", "bf16", "16"],
        BeforeValidator(str, json_schema_input_type=Literal["auto", "32", "tf32", "bf16", "16", 32, 16]),
    ] = Field(
        "auto",
        description="auto: bf16 where the GPU has it, 16 on older GPUs, 32 on CPU; 32: every product exact; tf32: "
        "factors of products and convolutions rounded to 10 bits on a GPU",
    )
    monitor: str | None = Field(
        None,
        description="validation figure that chooses the best epoch: for classification accuracy, loss or auc; default: "
        "the first one of the task (`jetloom tasks`)",
    )
    patience: int | None = Field(None, ge=1, description="stop after so many epochs without a better one")
    batch_phases: list[tuple[Count, Count]] | None = Field(
        None, min_length=1, description="[batch size, epochs] in turn (SAL-T recipe); replaces batch_size and epochs"
    )
    head_learning_rate_factor: float = Field(
        1.0, gt=0, description="the last layer learns so much faster (fine-tuning)"
    )
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="the rate is multiplied so for each block of the encoder between a parameter and the head, once in "
        "the last one (fine-tuning)",
    )
    freeze: Literal["encoder"] | None = Field(
        None, description="learn the head alone, on the encoder of other weights as it predicts (linear probe)"
    )
    unfreeze_after: int | None = Field(None, ge=1, description="epochs after which the frozen encoder learns too")
    freeze_random: bool = Field(False, description="freeze an encoder with weights as drawn: the control of a probe")
    initial_weights: str | None = Field(None, description="checkpoint to start from (fine-tuning)")
    reweighting: Reweighting | None = Field(None, description="flat classes and spectra by sampling; default: all jets")
    labelled_jets: Labels = Field(
        "all",
        description="training jets whose label is used, equally many of each class and drawn anew for each seed; an "
        "epoch keeps the length that it has with all",
    )
    validation: Literal["scaled", "full"] = Field(
        "scaled",
        description="beside a number of labelled_jets: a quarter as many validation jets, at least 10 of each class; "
        "or the whole split",
    )
    devices: int = Field(1, ge=1, description="GPUs per node; 1 also means the CPU")
    nodes: int = Field(1, ge=1, description="machines of one training")
    workers: int = Field(
        0,
        ge=0,
        description="threads that gather batches ahead; with a GPU 2 at least",
        json_schema_extra=remakes("nothing"),
    )
    # YAML 1.1 reads off as false.
    compile: Annotated[
        Literal["auto", "off", "graphs", "inductor"],
        BeforeValidator(
            lambda value: "off" if value is False else value,
            json_schema_input_type=Literal["auto", "off", "graphs", "inductor"],
        ),
    ] = Field(
        "auto",
        description="graphs: steps on a GPU are recorded for each length bucket and played back (one device); auto: "
        "where that is no slower, and nothing on a CPU; inductor: torch.compile of the step",
        json_schema_extra=remakes("nothing"),
    )
    checkpoint_minutes: float = Field(
        10.0, gt=0, description="longest training time that a kill may lose", json_schema_extra=remakes("nothing")
    )

    @property
    def phases(self) -> list[tuple[int, int]]:
        """[batch size, epochs] in turn."""
        return self.batch_phases or [(self.batch_size, self.epochs)]

    @property
    def labelled(self) -> int | None:
        """Number of labelled jets; None: all."""
        return None if self.labelled_jets == "all" else self.labelled_jets

    def learnt(self) -> dict[str, Any]:
        """What decides on the weights, as JSON holds it, but for those to start from: their content counts."""
        read = read_by(Training, "training") - {"initial_weights"}
        return as_given(self.model_dump(mode="json", include=read))

    def frozen(self, epoch: int) -> bool:
        """Whether the encoder is frozen in an epoch, counted from 0."""
        return self.freeze is not None and (self.unfreeze_after is None or epoch < self.unfreeze_after)

    def check_start(self, starts: bool, where: str = "training") -> None:
        """Whether a frozen encoder comes from somewhere.

        Args:
            starts: from the weights of another training or file.
            where: key of the configuration.

        Raises:
            JetloomError: it is as it was drawn, and nothing says that it is meant to be.
        """
        if self.freeze and not starts and not self.freeze_random:
            raise JetloomError(
                f"{where}.freeze: the encoder would stay as it was drawn; give starts_from or initial_weights, or "
                "freeze_random: true for a control"
            )
        if self.freeze_random and starts:
            raise JetloomError(f"{where}.freeze_random: the encoder starts from other weights; leave one of both out")

    @model_validator(mode="after")
    def _freezes(self) -> "Training":
        if not self.freeze and (self.unfreeze_after or self.freeze_random):
            raise ValueError(
                "unfreeze_after and freeze_random: nothing is frozen; expected freeze: encoder beside them"
            )
        epochs = sum(epochs for _, epochs in self.phases)
        if self.unfreeze_after and self.unfreeze_after >= epochs:
            raise ValueError(f"unfreeze_after: expected less than the {epochs} epochs, got {self.unfreeze_after}")
        if self.unfreeze_after and self.devices * self.nodes > 1:
            raise ValueError("unfreeze_after: only with one device; several agree on what learns when they start")
        if self.freeze and not self.unfreeze_after and self.layer_decay != 1:
            raise ValueError("layer_decay: the encoder is frozen throughout; leave one of both out")
        return self

    @model_validator(mode="after")
    def _compiles(self) -> "Training":
        if self.compile == "graphs" and self.devices * self.nodes > 1:
            raise ValueError("compile: graphs only with one device; expected auto, off or inductor with several")
        return self

    @model_validator(mode="after")
    def _labels(self) -> "Training":
        if self.labelled and self.reweighting:
            raise ValueError(
                f"labelled_jets: {self.labelled} jets are equally many of each class; leave reweighting out"
            )
        return self

    @model_validator(mode="after")
    def _restarts(self) -> "Training":
        epochs = sum(epochs for _, epochs in self.phases)
        if self.schedule == "restarts" and epochs <= 4:
            raise ValueError(
                f"schedule restarts ends in four epochs of halving: expected more than 4 epochs, got {epochs}"
            )
        return self


LATER = {"labelled_jets", "validation", "layer_decay", "freeze", "unfreeze_after", "freeze_random"}
"""Settings that came when there were results already."""


def as_given(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe without the later settings that are not given, so that they make nothing anew that does without them."""
    defaults = {name: Training.model_fields[name].default for name in LATER}
    return {name: value for name, value in recipe.items() if name not in LATER or value != defaults[name]}
