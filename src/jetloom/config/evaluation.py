"""``evaluation`` and ``cost``: what is measured of a trained model."""

from pydantic import Field

from jetloom.config.effects import remakes
from jetloom.config.section import Count, Fraction, Strict


class Evaluation(Strict, json_schema_extra=remakes("evaluation")):
    """What is computed on the test split."""

    batch_size: int = Field(512, ge=1, description="jets scored at once")
    bootstrap: int = Field(200, ge=2, description="resamplings behind each interval")
    confidence: Fraction = Field(0.68, description="coverage of the intervals")
    efficiencies: list[Fraction] = Field(
        default_factory=list, description="signal efficiencies of further rejections, beside the working points"
    )
    mean_rejection: Fraction | None = Field(
        None, description="signal efficiency of the mean rejection over the signal classes (SAL-T paper)"
    )


class Cost(Strict):
    """What is measured on this machine."""

    batch_sizes: list[Count] = Field([1, 16, 128, 512], min_length=1, description="of latency and throughput")
    particles: list[Count] = Field([16, 32, 64, 128, 256, 512], min_length=1, description="of latency and peak memory")
    seconds: float = Field(0.5, gt=0, description="time spent on each point")
