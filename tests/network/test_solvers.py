"""The steps of settling against the polynomials and exponentials that they stand for."""

from dataclasses import asdict
from math import exp

import numpy as np
import pytest
from numpy.polynomial.chebyshev import Chebyshev

from ncf.config.schema import SettleConfig
from ncf.network.solvers import chebyshev, schedule, solver_words, stiffest


def after(stepping: list[tuple[float, float]], stiffness: float) -> float:
    """What the steps leave of z = 1 under z' = -stiffness z."""
    z, v = 1.0, 0.0
    for beta, momentum in stepping:
        v = momentum * v - beta * stiffness * z
        z += v
    return z


@pytest.mark.parametrize("stages, damping", [(1, 2.0), (2, 0.1), (5, 1.0), (12, 9.0), (49, 4.0)])
def test_chebyshev_stages_leave_the_shifted_polynomial(stages, damping):
    C = Chebyshev.basis(stages)
    w0 = 1 + damping / stages**2
    w1 = C(w0) / C.deriv()(w0)
    for stiffness in (-0.3, 0.0, 0.2, 1.0, 4.0, 20.0):
        assert after(chebyshev(stages, 1.7, damping), stiffness) == pytest.approx(C(w0 - w1 * stiffness * 1.7) / C(w0), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("stages, damping", [(4, 1.0), (12, 9.0), (16, 20.0)])
def test_chebyshev_is_stable_up_to_the_stiffness_it_promises_and_not_beyond(stages, damping):
    limit = stiffest(stages, damping)
    assert limit > 2 * 2 * stages  # twice what as many of Euler's steps bear
    inside = [abs(after(chebyshev(stages, 1.0, damping), share * limit)) for share in np.linspace(0.01, 1, 400)]
    assert max(inside) < 1
    assert abs(after(chebyshev(stages, 1.0, damping), 1.05 * limit)) > abs(after(chebyshev(stages, 1.0, damping), limit))
    assert abs(after(chebyshev(stages, 1.0, damping), 1.5 * limit)) > 1


@pytest.mark.parametrize("solver", ["euler", "chebyshev"])
def test_many_steps_cross_the_time_beta_times_steps_after_the_first(solver):
    """First order: the error falls with the step."""
    errors = []
    for steps in (26, 51, 101):
        settle = SettleConfig(steps=steps, beta=3.0 / (steps - 1), solver=solver, damping=0.5, rounds=(steps - 1) // 5)
        stepping = list(schedule(settle, steps))
        assert len(stepping) == steps
        errors.append(abs(after(stepping if solver == "chebyshev" else stepping[1:], 0.8) - exp(-0.8 * 3.0)))
    assert errors[1] == pytest.approx(errors[0] / 2, rel=0.2) and errors[2] == pytest.approx(errors[1] / 2, rel=0.1)


def test_the_published_schedule_is_the_default():
    assert list(schedule(SettleConfig(), 50)) == [(0.1, 0.0)] * 50


@pytest.mark.parametrize("solver", ["euler", "momentum"])
def test_steps_grow_evenly_and_cross_the_same_time(solver):
    betas = [beta for beta, _ in schedule(SettleConfig(beta=0.3, solver=solver, growth=0.7), 17)][1:]
    assert betas[0] == pytest.approx(0.3 * 0.3) and betas[-1] == pytest.approx(1.7 * 0.3) and sum(betas) == pytest.approx(0.3 * 16)
    assert np.diff(betas) == pytest.approx((betas[-1] - betas[0]) / 15)


@pytest.mark.parametrize("steps, rounds", [(1, 1), (1, 4), (2, 1), (3, 5), (17, 2), (18, 3)])
def test_every_number_of_steps_and_rounds_has_a_schedule(steps, rounds):
    for solver in ("euler", "momentum", "chebyshev"):
        assert len(list(schedule(SettleConfig(solver=solver, rounds=rounds, growth=0.5), steps))) == steps


@pytest.mark.parametrize(
    "settings, words",
    [
        ({}, "euler"),
        ({"growth": 0.5}, "euler, growth 0.5"),
        ({"solver": "momentum", "momentum": 0.7}, "momentum 0.7"),
        ({"solver": "momentum", "momentum": 0.7, "growth": 0.25}, "momentum 0.7, growth 0.25"),
        ({"solver": "chebyshev", "growth": 0.5}, "chebyshev 9"),  # which has no growth
        ({"solver": "chebyshev", "damping": 2.5, "rounds": 3}, "chebyshev 2.5 in 3 rounds"),
    ],
)
def test_the_words_beside_a_figure_name_all_that_the_steps_depend_on(settings, words):
    assert solver_words(asdict(SettleConfig(**settings))) == words


def test_each_solver_takes_its_own_keys():
    assert list(schedule(SettleConfig(solver="momentum", momentum=0.7, beta=0.2), 4)) == [(0.2, 0.7)] * 4
    assert list(schedule(SettleConfig(solver="euler", momentum=0.7, beta=0.2), 4)) == [(0.2, 0.0)] * 4
    one = list(schedule(SettleConfig(solver="chebyshev", beta=0.2, damping=2.5, growth=0.5), 9))
    assert one == [(0.0, 0.0), *chebyshev(8, 1.6, 2.5)]
    two = list(schedule(SettleConfig(solver="chebyshev", beta=0.2, damping=2.5, rounds=2), 10))
    assert two == [(0.0, 0.0), *chebyshev(4, 0.8, 2.5), *chebyshev(5, 1.0, 2.5)]
