"""FLOPs as the SAL-T paper counts them: TensorFlow's profiler on the author's networks, as a formula.

The profiler leaves out what the author code does with ``tf.einsum`` (the projections E and F of Linformer and SAL-T),
activations and the maximum, and counts the multiplications and additions of everything else. Source: the formula gives
every count in the logs of the author code of arXiv:2510.23641 (739,918 for SAL-T on 150 particles and so on).
"""

from typing import Any

from jetloom.catalogue.options import defaults

KNOWN = ("salt", "linformer", "transformer_small")


def profiler_flops(
    architecture: str, options: dict[str, Any], particles: int, features: int, classes: int
) -> int | None:
    """FLOPs of one jet.

    Args:
        architecture: row of the registry.
        options: of the architecture, as far as they differ from its defaults.
        particles: n, the length to which jets are padded.
        features: F.
        classes: C; a network for two classes counts as one with a single output, as in the paper.

    Returns:
        None for networks that the formula does not describe: other architectures and more than one block.
    """
    if architecture not in KNOWN:
        return None
    chosen = defaults(architecture) | options
    if chosen["layers"] != 1:
        return None
    d, hidden, heads = chosen["d_model"], chosen["d_ff"], chosen["heads"]
    outputs = 1 if classes == 2 else classes
    rank = particles if architecture == "transformer_small" else chosen["p"]
    heights = chosen["conv_heights"] if architecture == "salt" else ()
    convolution = heads * rank * (2 * rank * sum(heights) + 2 * len(heights)) if heights else 0
    attention = 6 * d * d + 4 * d * rank + 6 * heads * rank + convolution + 2 * d * d + d
    block = attention + 6 * d + 4 * d * hidden + hidden + d
    # A sigmoid is not counted, a softmax as 5 operations per class.
    head = 2 * d * d + d + 2 * d * outputs + outputs + (5 * outputs if outputs > 1 else 0)
    flops: int = particles * (2 * features * d + d + block) + head
    return flops
