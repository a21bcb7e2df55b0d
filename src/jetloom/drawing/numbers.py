"""Numbers as physicists write them: no digit beyond the uncertainty."""

import math


def decimals(uncertainty: float) -> int:
    """Decimals to which the Particle Data Group quotes a number with this uncertainty.

    Three leading digits of the uncertainty from 100 to 354 keep two, from 355 to 949 one; above, it counts as 1000
    and keeps two, which are the same decimals as one of 949.
    Source: Review of Particle Physics, introduction, section 5.3.
    """
    exponent = math.floor(math.log10(uncertainty))
    leading = round(uncertainty / 10.0 ** (exponent - 2))
    return 1 - exponent if leading <= 354 else -exponent


def fixed(value: float, places: int) -> str:
    """``value`` with so many decimals; negative: rounded to tens, hundreds ..."""
    text = f"{round(value, places):,.{max(places, 0)}f}"
    return text.replace("-", "−")


def with_uncertainties(value: float, *uncertainties: float | None) -> list[str]:
    """Value and uncertainties, all rounded to the decimals of the largest one.

    An uncertainty that is None or zero is left out; without any the value keeps three significant digits.
    """
    known = [item for item in uncertainties if item]
    if not known:
        return [significant(value)]
    places = decimals(max(known))
    return [fixed(value, places), *(fixed(item, places) for item in known)]


def significant(value: float, digits: int = 3) -> str:
    """Value with so many significant digits, without exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return fixed(value, digits - 1 - math.floor(math.log10(abs(value))))


def scaled(value: float, digits: int = 3) -> str:
    """Large counts with a unit prefix: 25.4 k, 1.32 M."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{significant(value / factor, digits)} {prefix}"
    return f"{value:g}"


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 10 s``, ``2 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
