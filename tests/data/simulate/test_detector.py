import numpy
import pytest

from jetloom.data.simulate.calorimeter import ECAL, HCAL, measure
from jetloom.data.simulate.detector import FIELD, HALF_LENGTH, RADIUS, _propagate, detect
from jetloom.data.simulate.events import Particles


def make(pid, charge, pt, eta, phi, mass=0.0, vertex=(0.0, 0.0, 0.0), event=None):
    pt, eta, phi = numpy.broadcast_arrays(*map(numpy.atleast_1d, map(numpy.asarray, (pt, eta, phi))))
    n = len(pt)

    def column(value):
        return numpy.broadcast_to(numpy.asarray(value, dtype=float), (n,)).copy()

    return Particles(
        event=numpy.zeros(n, dtype=int) if event is None else numpy.asarray(event),
        pid=column(pid).astype(int),
        charge=column(charge).astype(int),
        px=pt * numpy.cos(phi),
        py=pt * numpy.sin(phi),
        pz=pt * numpy.sinh(eta),
        mass=column(mass),
        x=column(vertex[0]),
        y=column(vertex[1]),
        z=column(vertex[2]),
    )


def random_particles(n, charge, seed=0):
    draw = numpy.random.default_rng(seed)
    return make(
        211,
        charge,
        10 ** draw.uniform(-0.9, 2, n),
        draw.choice([-1, 1], n) * draw.uniform(0.3, 2.5, n),
        draw.uniform(-numpy.pi, numpy.pi, n),
        0.13957,
        (draw.normal(0, 5, n), draw.normal(0, 5, n), draw.normal(0, 30, n)),
    )


def integrate(particles, steps=40_000):
    """Where particles leave the cylinder, by small steps in the magnetic field (charge times v x B)."""
    position = numpy.stack([particles.x, particles.y, particles.z])
    momentum = numpy.stack([particles.px, particles.py, particles.pz])
    size = numpy.linalg.norm(momentum, axis=0)
    length = 2.5 * HALF_LENGTH * numpy.maximum(1, size / numpy.maximum(numpy.abs(momentum[2]), 1e-3)) / steps
    turn = 0.299792458e-3 * particles.charge * FIELD / size * length
    out = numpy.zeros(len(size), dtype=bool)
    for _ in range(steps):
        # Rotate half, move, rotate half: second order in the step.
        for half in range(2):
            cosine, sine = numpy.cos(turn / 2), numpy.sin(turn / 2)
            momentum[:2] = cosine * momentum[0] + sine * momentum[1], cosine * momentum[1] - sine * momentum[0]
            if half == 0:
                position = numpy.where(out, position, position + momentum / size * length)
        out |= (numpy.hypot(position[0], position[1]) >= RADIUS) | (numpy.abs(position[2]) >= HALF_LENGTH)
        if out.all():
            break
    assert out.all()
    return position


@pytest.mark.seconds
@pytest.mark.parametrize("charge", [-1, 0, 1])
def test_propagation_agrees_with_small_steps(charge):
    particles = random_particles(200, charge)
    path = _propagate(particles, numpy.hypot(particles.px, particles.py), numpy.arctan2(particles.py, particles.px))
    x, y, z = integrate(particles)
    # The steps of up to 0.7 mm overshoot the surface; that shows in the angles of loopers close to the beam.
    radius = numpy.hypot(x, y)
    assert (numpy.abs(path.eta - numpy.arcsinh(z / radius)) < 1.5 / radius).all()
    assert (numpy.cos(path.phi - numpy.arctan2(y, x)) > numpy.cos(1.5 / radius)).all()
    assert charge == 0 or (radius < 0.9 * RADIUS).sum() > 30


def test_prompt_tracks_have_no_impact_parameter():
    particles = random_particles(100, 1)._replace(x=numpy.zeros(100), y=numpy.zeros(100), z=numpy.full(100, 3.0))
    path = _propagate(particles, numpy.hypot(particles.px, particles.py), numpy.arctan2(particles.py, particles.px))
    assert numpy.abs(path.d0).max() < 1e-6
    assert numpy.abs(path.dz - 3.0).max() < 1e-6


@pytest.mark.parametrize("charge", [-1, 1])
def test_impact_parameter_of_a_displaced_track(charge):
    """A stiff track is straight: d0 is the vertex distance times the sine of the angle between them."""
    phi = numpy.linspace(-3, 3, 50)
    particles = make(211, charge, 5000.0, 0.5, phi, vertex=(4.0, 3.0, 10.0))
    path = _propagate(particles, numpy.full(50, 5000.0), phi)
    assert path.d0 == pytest.approx(4 * numpy.sin(phi) - 3 * numpy.cos(phi), abs=1e-4)
    along = 4 * numpy.cos(phi) + 3 * numpy.sin(phi)
    assert path.dz == pytest.approx(10 - along * numpy.sinh(0.5), abs=1e-4)


@pytest.mark.parametrize(
    ("pid", "pt", "eta", "expected"),
    [
        (211, 0.9, 0.3, 0.70), (211, 20, 0.3, 0.95), (2212, 0.9, 1.8, 0.60), (321, 20, 2.0, 0.85), (211, 20, 2.8, 0),
        (11, 0.9, 0.3, 0.73), (11, 20, 0.3, 0.95), (11, 200, 0.3, 0.99), (11, 20, 2.0, 0.83), (11, 200, 2.0, 0.90),
        (13, 0.9, 0.3, 0.75), (13, 20, 0.3, 0.99), (13, 20, 2.0, 0.98), (211, 0.05, 0.3, 0),
    ],
)  # fmt: skip
def test_tracking_efficiency(pid, pt, eta, expected):
    n = 20_000
    draw = numpy.random.default_rng(1)
    particles = make(pid, 1, numpy.full(n, pt), eta, draw.uniform(-3.1, 3.1, n), event=numpy.arange(n))
    flow = detect(particles, draw, "ideal")
    assert (flow.charge != 0).sum() / n == pytest.approx(expected, abs=4 * (0.25 / n) ** 0.5)


def test_impact_parameter_resolution():
    n = 50_000
    draw = numpy.random.default_rng(2)
    phi = draw.uniform(-3.1, 3.1, n)
    regions = [
        (0.5, (0.0108, 0.0864, 0.7747), (0.0307, 0.1160, 0.7472)),
        (1.1, (0.0098, 0.1035, 0.8001), (0.0344, 0.2020, 0.7856)),
        (2.0, (0.0140, 0.1633, 0.8851), (0.0792, 0.6597, 0.8684)),
    ]
    for eta, d0, dz in regions:
        flow = detect(make(13, 1, numpy.full(n, 5.0), eta, phi), draw)
        for values, errors, (a, b, c) in ((flow.d0, flow.d0_error, d0), (flow.dz, flow.dz_error, dz)):
            expected = (a**2 + (b * 5.0**-c) ** 2) ** 0.5
            assert errors == pytest.approx(expected)
            assert values.std() == pytest.approx(expected, rel=0.02)
            assert abs(values.mean()) < 4 * expected / len(values) ** 0.5


def test_tracks_too_soft_to_be_resolved():
    # From the beam they would curl up; these are born close to the surface.
    particles = make(13, 1, numpy.full(500, 0.15), 0.1, 0.0, vertex=(1250.0, 0.0, 0.0))
    flow = detect(particles, numpy.random.default_rng(3))
    assert len(flow.pt) and not flow.d0_error.any() and not flow.dz_error.any()


@pytest.mark.parametrize(("calorimeter", "energy"), [(ECAL, 50.0), (HCAL, 80.0)], ids=["ecal", "hcal"])
def test_calorimeter_response(calorimeter, energy):
    """One neutral particle per event: right mean and width, and a direction inside its tower."""
    n = 20_000
    draw = numpy.random.default_rng(4)
    eta, phi = numpy.full(n, 0.05), draw.uniform(-numpy.pi, numpy.pi, n)
    towers = measure(calorimeter, numpy.arange(n), eta, phi, numpy.full(n, energy), numpy.zeros(n, bool), draw)
    if calorimeter is ECAL:
        sigma = ((0.008 * energy) ** 2 + 0.11**2 * energy + 0.4**2) ** 0.5
    else:
        sigma = ((0.05 * energy) ** 2 + 1.5**2 * energy) ** 0.5
    assert len(towers.energy) == n
    assert towers.energy.mean() == pytest.approx(energy, abs=5 * sigma / n**0.5)
    assert towers.energy.std() == pytest.approx(sigma, rel=0.03)
    assert (towers.event == numpy.arange(n)).all()
    cell = 2 * numpy.pi / calorimeter.fine_cells
    difference = numpy.mod(towers.phi - phi + numpy.pi, 2 * numpy.pi) - numpy.pi
    assert numpy.abs(difference).max() <= cell
    # Uniform in a cell, for a particle uniform in it too: variance of the difference of two.
    assert difference.std() == pytest.approx(cell / 6**0.5, rel=0.03)


def test_hadronic_threshold():
    """A tower must exceed one standard deviation: 2.256 GeV."""
    n = 20_000
    draw = numpy.random.default_rng(5)
    n_events = numpy.arange(n)
    towers = measure(
        HCAL, n_events, numpy.zeros(n) + 0.01, numpy.zeros(n), numpy.full(n, 3.0), numpy.zeros(n, bool), draw
    )
    assert 0.3 < len(towers.energy) / n < 0.9
    assert towers.energy.min() == pytest.approx(2.256, abs=0.01)


def test_energy_flow_scales_tracks_without_excess():
    n = 5000
    draw = numpy.random.default_rng(6)
    particles = make(211, 1, numpy.full(n, 10.0), 0.3, draw.uniform(-3, 3, n), 0.13957, event=numpy.arange(n))
    scaled = detect(particles, numpy.random.default_rng(7), "jetclass")
    ideal = detect(particles, numpy.random.default_rng(7), "ideal")
    tracks = ideal.charge != 0
    assert (ideal.pt[tracks] == pytest.approx(10.0)) and tracks.sum() > 0.93 * n
    tracks = scaled.charge != 0
    # Kept as it is where a neutral hadron is seen too, else scaled to the energy of the tower.
    neutral_events = set(scaled.event[(scaled.pid == 0)].tolist())
    excess = numpy.array([event in neutral_events for event in scaled.event[tracks].tolist()])
    assert scaled.pt[tracks][excess] == pytest.approx(10.0)
    assert (numpy.abs(scaled.pt[tracks][~excess] - 10) > 1e-6).mean() > 0.99
    assert scaled.pt[tracks][~excess].max() < 20


def test_species():
    draw = numpy.random.default_rng(8)
    pid = numpy.repeat([22, 2112, 130, -11, 13, 211, 12], 200)
    charge = numpy.repeat([0, 0, 0, 1, -1, 1, 0], 200)
    visible = numpy.abs(pid) != 12
    particles = make(pid[visible], charge[visible], numpy.full(visible.sum(), 100.0), 0.2, 0.0)
    particles = particles._replace(event=numpy.arange(visible.sum()))
    flow = detect(particles, draw)
    truth = pid[visible][flow.event]
    assert set(numpy.unique(truth[flow.pid == 0])) <= {2112, 130, 211}
    assert set(numpy.unique(truth[flow.pid == 22])) <= {22, -11}
    assert set(numpy.unique(truth[flow.pid == 13])) == {13}
    assert (numpy.diff(flow.event) >= 0).all()
    neutral = flow.charge == 0
    for values in (flow.d0, flow.dz, flow.d0_error, flow.dz_error, flow.mass):
        assert not values[neutral].any()


def test_particles_outside_are_dropped():
    draw = numpy.random.default_rng(9)
    for particles in (
        make(22, 0, 50.0, 4.5, 0.0),
        make(22, 0, 50.0, 0.0, 0.0, vertex=(1300.0, 0.0, 0.0)),
        make(22, 0, 50.0, 0.0, 0.0, vertex=(0.0, 0.0, -3100.0)),
    ):
        assert len(detect(particles, draw).pt) == 0
