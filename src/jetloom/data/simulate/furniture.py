"""Ten kinds of furniture as lists of parts with random proportions, the classes of ModelNet10.

Lengths are in units of about a metre. The first part of every list is the one without which the thing is not itself;
the others may be lost to a defect. Neighbouring kinds (desk and table, dresser and night stand, sofa and bed) share
forms and proportions on purpose, as they do in ModelNet10.
"""

from collections.abc import Callable

import numpy as np

from jetloom.data.simulate.primitives import Mesh, box, cylinder, frustum, ring

Draw = np.random.Generator


def _chance(draw: Draw, probability: float) -> bool:
    return bool(draw.random() < probability)


def _legs(draw: Draw, width: float, depth: float, height: float, thickness: float) -> list[Mesh]:
    """Four legs under a plate, square or round, a little inside its corners."""
    inset = draw.uniform(0.5, 1.5) * thickness
    corners = [(x * (width / 2 - inset), y * (depth / 2 - inset)) for x in (-1, 1) for y in (-1, 1)]
    if _chance(draw, 0.4):
        return [cylinder(x, y, 0, thickness / 2, height) for x, y in corners]
    return [box(x, y, 0, thickness, thickness, height) for x, y in corners]


def _drawers(draw: Draw, x: float, front: float, z: float, width: float, height: float, rows: int) -> list[Mesh]:
    """Fronts of drawers, standing out a little from the body, some with handles."""
    parts, step = [], height / rows
    handles = _chance(draw, 0.6)
    for row in range(rows):
        parts.append(box(x, front - 0.01, z + row * step + 0.08 * step, 0.9 * width, 0.03, 0.84 * step))
        if handles:
            parts.append(box(x, front - 0.04, z + (row + 0.5) * step, 0.25 * width, 0.03, 0.03))
    return parts


def bathtub(draw: Draw) -> list[Mesh]:
    """An open tub, angular or oval, perhaps with feet, a tap or an apron."""
    length, width, height = draw.uniform(1.3, 1.9), draw.uniform(0.65, 1.1), draw.uniform(0.4, 0.7)
    wall, lift = draw.uniform(0.04, 0.12), 0.0
    parts: list[Mesh] = []
    if _chance(draw, 0.3):
        lift = draw.uniform(0.05, 0.2)
        parts += _legs(draw, 0.8 * length, 0.8 * width, lift, 0.08)
    if _chance(draw, 0.5):
        parts.insert(0, ring(0, 0, lift, (length / 2, width / 2), wall, height))
        parts.append(frustum(0, 0, lift, (0.46 * length, 0.44 * width), (0.46 * length, 0.44 * width), 0.06))
    else:
        parts.insert(0, box(0, 0, lift, length, width, draw.uniform(0.05, 0.35) * height))
        parts += [box(0, side * (width - wall) / 2, lift, length, wall, height) for side in (-1, 1)]
        parts += [box(side * (length - wall) / 2, 0, lift, wall, width, height) for side in (-1, 1)]
    if _chance(draw, 0.4):
        parts.append(cylinder(0.42 * length, 0, lift + height, 0.03, draw.uniform(0.1, 0.25)))
    if _chance(draw, 0.25):
        parts.append(box(0, width / 2 + 0.1, 0, length, 0.2, lift + height))
    return parts


def bed(draw: Draw) -> list[Mesh]:
    """A mattress on a frame; head and foot board, pillows and posts vary."""
    length, width = draw.uniform(1.8, 2.2), draw.uniform(0.8, 2.0)
    base, mattress = draw.uniform(0.15, 0.4), draw.uniform(0.12, 0.3)
    top = base + mattress
    parts = [box(0, 0, base, width, length, mattress), box(0, 0, 0.3 * base, 1.04 * width, 1.02 * length, 0.7 * base)]
    if _chance(draw, 0.85):
        parts.append(box(0, length / 2, 0, 1.05 * width, 0.08, top + draw.uniform(0.15, 0.7)))
    if _chance(draw, 0.35):
        parts.append(box(0, -length / 2, 0, 1.05 * width, 0.08, top + draw.uniform(0.0, 0.3)))
    if _chance(draw, 0.6):
        count = 2 if width > 1.2 else 1
        for place in range(count):
            x = (place - (count - 1) / 2) * width / count
            parts.append(box(x, 0.4 * length, top, 0.7 * width / count, 0.3, 0.1))
    if _chance(draw, 0.15):
        parts += _legs(draw, width, length, draw.uniform(1.4, 2.0), 0.07)
    elif _chance(draw, 0.5):
        parts += _legs(draw, width, length, base, 0.08)
    return parts


def chair(draw: Draw) -> list[Mesh]:
    """Seat, back, and legs or a pedestal; armrests on some."""
    width, depth, seat = draw.uniform(0.4, 0.65), draw.uniform(0.4, 0.6), draw.uniform(0.35, 0.55)
    thick = draw.uniform(0.03, 0.15)
    back = draw.uniform(0.25, 0.7)
    parts = [box(0, 0, seat, width, depth, thick)]
    if _chance(draw, 0.3):
        parts += [cylinder(0, 0, 0, 0.04, seat), frustum(0, 0, 0, (0.28, 0.28), (0.1, 0.1), 0.08)]
    elif _chance(draw, 0.15):
        parts.append(box(0, 0, 0, 0.95 * width, 0.95 * depth, seat))
    else:
        parts += _legs(draw, width, depth, seat, draw.uniform(0.03, 0.07))
    if _chance(draw, 0.65):
        parts.append(box(0, depth / 2 - 0.03, seat + thick, width, draw.uniform(0.03, 0.12), back))
    elif _chance(draw, 0.8):
        slats = int(draw.integers(3, 6))
        places = np.linspace(-0.45, 0.45, slats) * width
        parts += [box(x, depth / 2 - 0.03, seat + thick, 0.04, 0.04, back) for x in places.tolist()]
        parts.append(box(0, depth / 2 - 0.03, seat + thick + back, width, 0.05, 0.08))
    if _chance(draw, 0.4):
        rise = draw.uniform(0.15, 0.28)
        for side in (-1, 1):
            parts.append(box(side * width / 2, 0, seat + thick + rise, 0.06, depth, 0.04))
            parts.append(box(side * width / 2, -0.4 * depth, seat + thick, 0.05, 0.05, rise))
    return parts


def desk(draw: Draw) -> list[Mesh]:
    """A plate on panels, pedestals of drawers or legs; a hutch or a return on some."""
    width, depth, height = draw.uniform(1.0, 1.9), draw.uniform(0.5, 0.95), draw.uniform(0.65, 0.85)
    thick = draw.uniform(0.03, 0.08)
    parts = [box(0, 0, height, width, depth, thick)]
    for side in (-1, 1):
        if _chance(draw, 0.45):
            pedestal = draw.uniform(0.22, 0.34) * width
            x = side * (width - pedestal) / 2
            parts.append(box(x, 0, 0.05, pedestal, 0.9 * depth, height - 0.05))
            parts += _drawers(draw, x, -0.45 * depth, 0.08, pedestal, height - 0.12, int(draw.integers(2, 5)))
        elif _chance(draw, 0.6):
            parts.append(box(side * (width / 2 - 0.04), 0, 0, 0.05, 0.95 * depth, height))
        else:
            parts += [box(side * (width / 2 - 0.06), y * 0.42 * depth, 0, 0.06, 0.06, height) for y in (-1, 1)]
    if _chance(draw, 0.5):
        panel = draw.uniform(0.3, 0.8) * height
        parts.append(box(0, 0.42 * depth, height - panel, 0.95 * width, 0.03, panel))
    if _chance(draw, 0.25):
        rise = draw.uniform(0.25, 0.6)
        parts += [box(side * 0.47 * width, 0.35 * depth, height, 0.04, 0.28 * depth, rise) for side in (-1, 1)]
        parts.append(box(0, 0.35 * depth, height + rise, width, 0.3 * depth, 0.04))
    if _chance(draw, 0.2):
        parts.append(box(0.35 * width, -0.9 * depth, height, 0.3 * width, depth, thick))
        parts.append(box(0.35 * width, -1.35 * depth, 0, 0.28 * width, 0.05, height))
    return parts


def dresser(draw: Draw) -> list[Mesh]:
    """A wide chest of drawers, on some a mirror."""
    width, depth, height = draw.uniform(0.75, 1.6), draw.uniform(0.4, 0.6), draw.uniform(0.7, 1.25)
    lift = draw.uniform(0.0, 0.12)
    parts = [box(0, 0, lift, width, depth, height - lift)]
    columns = int(draw.integers(1, 4)) if width > 1.0 else int(draw.integers(1, 3))
    rows = int(draw.integers(2, 6))
    for column in range(columns):
        x = (column - (columns - 1) / 2) * width / columns
        parts += _drawers(draw, x, -depth / 2, lift + 0.04, width / columns, height - lift - 0.06, rows)
    if lift > 0.04:
        parts += _legs(draw, width, depth, lift, 0.07)
    if _chance(draw, 0.5):
        parts.append(box(0, 0, height, 1.06 * width, 1.06 * depth, 0.04))
    if _chance(draw, 0.2):
        parts.append(box(0, 0.4 * depth, height, draw.uniform(0.4, 0.9) * width, 0.04, draw.uniform(0.4, 0.8)))
    return parts


def monitor(draw: Draw) -> list[Mesh]:
    """A screen on a foot; on some a deep tube, two feet or none."""
    width, height = draw.uniform(0.4, 0.75), draw.uniform(0.28, 0.48)
    thick, lift = draw.uniform(0.02, 0.09), draw.uniform(0.04, 0.2)
    parts = [box(0, 0, lift, width, thick, height)]
    if _chance(draw, 0.6):
        parts.append(box(0, -thick / 2, lift, width, 0.02, 0.05))
    if _chance(draw, 0.2):
        deep = draw.uniform(0.2, 0.4)
        parts.append(box(0, (thick + deep) / 2, lift + 0.05 * height, 0.8 * width, deep, 0.85 * height))
    if _chance(draw, 0.9):
        radius = draw.uniform(0.18, 0.35) * width
        if _chance(draw, 0.5):
            parts.append(frustum(0, 0.02, 0, (radius, 0.7 * radius), (radius, 0.7 * radius), 0.03))
        else:
            parts.append(box(0, 0.02, 0, 2 * radius, 1.3 * radius, 0.03))
        parts.append(box(0, 0.02 + thick / 2, 0, draw.uniform(0.04, 0.2) * width, 0.04, lift + 0.4 * height))
    return parts


def night_stand(draw: Draw) -> list[Mesh]:
    """A small chest of drawers, or a small table with a shelf."""
    width, depth, height = draw.uniform(0.4, 0.75), draw.uniform(0.35, 0.55), draw.uniform(0.45, 0.75)
    lift = draw.uniform(0.0, 0.2)
    if _chance(draw, 0.65):
        parts = [box(0, 0, lift, width, depth, height - lift)]
        parts += _drawers(draw, 0, -depth / 2, lift + 0.03, width, height - lift - 0.05, int(draw.integers(1, 4)))
        if lift > 0.04:
            parts += _legs(draw, width, depth, lift, 0.05)
    else:
        chest = draw.uniform(0.25, 0.5) * height
        parts = [box(0, 0, height - chest, width, depth, chest)]
        parts += _drawers(draw, 0, -depth / 2, height - chest, width, chest, 1)
        parts += _legs(draw, width, depth, height - chest, 0.05)
        if _chance(draw, 0.6):
            parts.append(box(0, 0, 0.2 * height, 0.92 * width, 0.92 * depth, 0.03))
    if _chance(draw, 0.6):
        parts.append(box(0, 0, height, 1.1 * width, 1.1 * depth, 0.03))
    return parts


def sofa(draw: Draw) -> list[Mesh]:
    """Seat, back and arms for one to four people; cushions, feet or a corner on some."""
    width, depth, seat = draw.uniform(0.9, 2.4), draw.uniform(0.75, 1.05), draw.uniform(0.3, 0.48)
    arm, back = draw.uniform(0.1, 0.28), draw.uniform(0.25, 0.5)
    lift = draw.uniform(0.0, 0.12)
    parts = [box(0, 0, lift, width, depth, seat - lift)]
    if _chance(draw, 0.95):
        parts.append(box(0, 0.42 * depth, lift, width, draw.uniform(0.12, 0.25) * depth, seat + back))
    if _chance(draw, 0.85):
        rise = draw.uniform(0.1, 0.3)
        parts += [box(side * (width - arm) / 2, 0, lift, arm, depth, seat - lift + rise) for side in (-1, 1)]
    if _chance(draw, 0.6):
        places = max(1, round(width / 0.7))
        span = (width - 2 * arm) / places
        for place in range(places):
            x = (place - (places - 1) / 2) * span
            parts.append(box(x, -0.05 * depth, seat, 0.95 * span, 0.8 * depth, draw.uniform(0.06, 0.14)))
    if lift > 0.05:
        parts += _legs(draw, width, depth, lift, 0.07)
    if width > 1.6 and _chance(draw, 0.25):
        parts.append(box(0.35 * width, -0.8 * depth, lift, 0.3 * width, 0.8 * depth, seat - lift))
    return parts


def table(draw: Draw) -> list[Mesh]:
    """A plate, angular or round, on legs, a pedestal or panels; a shelf on some."""
    width, depth, height = draw.uniform(0.7, 2.0), draw.uniform(0.6, 1.1), draw.uniform(0.4, 0.85)
    thick = draw.uniform(0.03, 0.1)
    if _chance(draw, 0.35):
        parts = [frustum(0, 0, height, (width / 2, depth / 2), (width / 2, depth / 2), thick)]
        width, depth = 0.75 * width, 0.75 * depth
    else:
        parts = [box(0, 0, height, width, depth, thick)]
    if _chance(draw, 0.25):
        foot = draw.uniform(0.2, 0.4) * min(width, depth)
        parts += [
            cylinder(0, 0, 0, draw.uniform(0.04, 0.12), height),
            frustum(0, 0, 0, (foot, foot), (0.08, 0.08), 0.08),
        ]
    elif _chance(draw, 0.2):
        parts += [box(side * 0.42 * width, 0, 0, 0.06, 0.9 * depth, height) for side in (-1, 1)]
    else:
        parts += _legs(draw, width, depth, height, draw.uniform(0.04, 0.12))
    if _chance(draw, 0.25):
        parts.append(box(0, 0, draw.uniform(0.15, 0.4) * height, 0.85 * width, 0.85 * depth, 0.03))
    if _chance(draw, 0.3):
        parts.append(box(0, 0, height - 0.12, 0.9 * width, 0.9 * depth, 0.12))
    return parts


def toilet(draw: Draw) -> list[Mesh]:
    """A bowl with its ring, a cistern behind, the lid up, down or lost."""
    width, depth, height = draw.uniform(0.17, 0.22), draw.uniform(0.22, 0.32), draw.uniform(0.35, 0.45)
    foot = draw.uniform(0.5, 0.9)
    parts = [frustum(0, 0, 0, (foot * width, foot * depth), (width, depth), height, shift=-draw.uniform(0.0, 0.08))]
    parts.append(ring(0, -0.04, height, (width, depth), 0.06, 0.04))
    behind = 0.8 * depth
    if _chance(draw, 0.85):
        tank = draw.uniform(0.25, 0.45)
        start = height if _chance(draw, 0.7) else 0.0
        parts.append(
            box(0, behind + 0.1, start, draw.uniform(0.32, 0.5), draw.uniform(0.15, 0.25), tank + height - start)
        )
    if _chance(draw, 0.4):
        parts.append(box(0, behind - 0.04, height + 0.03, 1.9 * width, 0.03, draw.uniform(0.3, 0.45)))
    elif _chance(draw, 0.6):
        parts.append(frustum(0, -0.04, height + 0.04, (width, depth), (width, depth), 0.03))
    if _chance(draw, 0.3):
        parts.append(box(0, behind / 2, 0, 1.2 * width, behind, height))
    return parts


FURNITURE: dict[str, Callable[[Draw], list[Mesh]]] = {
    build.__name__: build for build in (bathtub, bed, chair, desk, dresser, monitor, night_stand, sofa, table, toilet)
}
