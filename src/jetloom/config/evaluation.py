"""``evaluation`` and ``cost``: what is measured of a trained model."""

from typing import Annotated

from pydantic import Field

from jetloom.config.effects import remakes
from jetloom.config.section import Strict


class Evaluation(Strict, json_schema_extra=remakes("evaluation")):
    """What is computed on the test split."""

    batch_size: int = Field(512, ge=1, description="jets scored at once")
    bootstrap: int = Field(200, ge=2, description="resamplings behind each interval")
    confidence: float = Field(0.68, gt=0, lt=1, description="coverage of the intervals")
    efficiencies: list[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default_factory=list, description="signal efficiencies of further rejections, beside the working points"
    )
    mean_rejection: float | None = Field(
        None, gt=0, lt=1, description="signal efficiency of the mean rejection over the signal classes (SAL-T paper)"
    )


class Cost(Strict):
    """What is measured on this machine."""

    batch_sizes: list[int] = Field([1, 16, 128, 512], min_length=1, description="of latency and throughput")
    particles: list[int] = Field([16, 32, 64, 128, 256, 512], min_length=1, description="of latency and peak memory")
    seconds: float = Field(0.5, gt=0, description="time spent on each point")
