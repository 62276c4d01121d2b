"""How the states step through settling: beta_k and m_k of every step, v_l <- m_k v_l + beta_k d_l, z_l <- z_l + v_l.

euler: beta_k = beta, m_k = 0, the published schedule. momentum (heavy ball): beta_k = beta, m_k = m. With `growth` g, beta_k rises
evenly from (1 - g) beta to (1 + g) beta: layers wake one after the other in the first steps, which large ones would miss. chebyshev: the
Runge-Kutta-Chebyshev method of first order (van der Houwen and Sommeijer, "On the internal stability of explicit, m-stage Runge-Kutta
methods for large m-values", ZAMM 60, 1980), whose stages are steps of that kind too; in one round, or in several that each start
without momentum.

The first step finds all errors at zero and moves nothing, so K steps settle over the time beta (K - 1), with any of the three.
"""

from collections.abc import Iterable
from math import acosh, cosh, sinh

from ncf.config.schema import SettleConfig


def schedule(config: SettleConfig, steps: int) -> Iterable[tuple[float, float]]:
    """(beta_k, m_k) of steps 1..K."""
    if config.solver == "chebyshev":
        shares = [(steps - 1) * i // config.rounds for i in range(config.rounds + 1)]
        rounds = [after - before for before, after in zip(shares, shares[1:])]
        return [(0.0, 0.0), *(stage for stages in rounds for stage in chebyshev(stages, config.beta * stages, config.damping))]
    momentum = config.momentum if config.solver == "momentum" else 0.0

    def rise(k: int) -> float:
        """-1 .. 1 over the steps 2..K, which are those that move."""
        return 2 * max(k - 2, 0) / (steps - 2) - 1 if steps > 2 else 0.0

    return ((config.beta * (1 + config.growth * rise(k)), momentum) for k in range(1, steps + 1))


def chebyshev(stages: int, time: float, damping: float) -> list[tuple[float, float]]:
    """The s stages that cross `time`: on z' = -lambda z they leave P(lambda) = C_s(w0 - w1 lambda time) / C_s(w0) of z.

    C_s is the Chebyshev polynomial, w0 = 1 + damping / s^2, w1 = C_s(w0) / C_s'(w0), so that P falls from 1 as exp(-lambda time) does,
    and stays within 1 / C_s(w0) while lambda time <= (1 + w0) / w1 (`stiffest`): nearly 2 s^2 for little damping, where s steps of Euler's
    bear 2 s. More damping bears less and brings what is stiff nearer to its balance.
    """
    if not stages:
        return []
    w0 = 1 + damping / stages**2
    C = [cosh(j * acosh(w0)) for j in range(stages + 1)]
    w1 = C[stages] * sinh(acosh(w0)) / (stages * sinh(stages * acosh(w0)))
    first = (time * w1 / w0, 0.0)
    return [first, *((2 * time * w1 * C[j - 1] / C[j], C[j - 2] / C[j]) for j in range(2, stages + 1))]


def stiffest(stages: int, damping: float) -> float:
    """The largest lambda * time that the stages bear: (1 + w0) / w1."""
    w0 = 1 + damping / stages**2
    return (1 + w0) * stages * sinh(stages * acosh(w0)) / (cosh(stages * acosh(w0)) * sinh(acosh(w0)))


def solver_words(settle: dict) -> str:
    """The solver and what it was given, e.g. ``momentum 0.5``; of a config as a plain dict."""
    if settle["solver"] == "chebyshev":
        return f"chebyshev {settle['damping']:g}" + (f" in {settle['rounds']} rounds" if settle["rounds"] > 1 else "")
    name = f"momentum {settle['momentum']:g}" if settle["solver"] == "momentum" else "euler"
    return name + (f", growth {settle['growth']:g}" if settle.get("growth") else "")
