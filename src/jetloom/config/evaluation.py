"""``evaluation`` and ``cost``: what is measured of a trained model."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from jetloom.config.effects import remakes
from jetloom.config.section import Count, Different, Fraction, Strict


class Evaluation(Strict, json_schema_extra=remakes("evaluation")):
    """What is computed on the test split."""

    batch_size: int = Field(512, ge=1, description="jets scored at once")
    # YAML reads 32 as a number.
    precision: Annotated[
        Literal["32", "tf32", "bf16", "16"],
        BeforeValidator(str, json_schema_input_type=Literal["32", "tf32", "bf16", "16", 32, 16]),
    ] = Field("32", description="of the network on a GPU, as training.precision; a CPU takes 32")
    bootstrap: int = Field(200, ge=2, description="resamplings behind each interval")
    confidence: Fraction = Field(0.68, description="coverage of the intervals")
    efficiencies: list[Fraction] = Field(
        default_factory=list, description="signal efficiencies of further rejections, beside the working points"
    )
    mean_rejection: Fraction | None = Field(
        None, description="signal efficiency of the mean rejection over the signal classes (SAL-T paper)"
    )
    quantised: Different[Literal["int8", "bf16"]] = Field(
        default_factory=list,
        description="formats of fewer bits in which the exported network is evaluated too, on the CPU (report.md)",
    )


class Cost(Strict):
    """What is measured on this machine."""

    batch_sizes: list[Count] = Field([1, 16, 128, 512], min_length=1, description="of latency and throughput")
    particles: list[Count] = Field([16, 32, 64, 128, 256, 512], min_length=1, description="of latency and peak memory")
    seconds: float = Field(0.5, gt=0, description="time spent on each point")
