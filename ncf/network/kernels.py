"""The elementwise work between the matrix products of a settling step, compiled: a population's rows in one pass.

Arguments are tuples of arrays (rows, J) over populations, float32 or float64; what products have computed and will read may be
bfloat16, as arrays of their 16 bits. Every loop over j is one vector loop, and a row stays in the nearest cache from term to term. The
terms and their order are those of `GNCN.move`, `predict` and `compare`. All of it stands in this file: numba renews what it keeps on disk
when the file of the function that is called changes, not another's.
"""

import math
from functools import partial
from typing import NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import overload

from ncf.network.compiled import Compiled

OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}  # a product and a sum may become one operation
IDENTITY, RELU, TANH, SIGMOID, SOFTMAX, THRESHOLD = range(6)
ACTIVATIONS = {"identity": IDENTITY, "relu": RELU, "tanh": TANH, "sigmoid": SIGMOID, "softmax": SOFTMAX, "threshold": THRESHOLD}
NO_PRIOR, LAPLACE, GAUSSIAN, CAUCHY = range(4)
PRIORS = {"none": NO_PRIOR, "laplace": LAPLACE, "gaussian": GAUSSIAN, "cauchy": CAUCHY}


class Terms(NamedTuple):
    """What `move` adds up for one population: first the rates, of the arrays' type, then whole numbers. They come as two arrays, a row per
    population: a compiled function takes those at once, where every field of a tuple would cost it on each call."""

    gamma: np.floating
    strength: np.floating
    self_excitation: np.floating
    inhibition: np.floating
    threshold: np.floating
    heavy_ball: int
    activation: int
    derivative: int
    predicted: int  # it has errors of its own
    columns: int  # units that compete; 0: none do
    prior: int


RATES = 5  # of the fields above


def exponential(x):
    """e^x, for float32 as a loop over j can take it: within 2e-7 of the value (Cody and Waite's reduction, a polynomial of degree 5)."""
    return math.exp(x)


@overload(exponential, inline="always", jit_options=OPTIONS)
def compile_exponential(x):
    if x != types.float32:
        return lambda x: math.exp(x)

    def of_float32(x):
        x = np.float32(-87) if x < np.float32(-87) else x
        x = np.float32(88) if x > np.float32(88) else x
        shifted = np.float32(x * np.float32(1.44269504) + np.float32(12582912))  # n = x / ln 2 rounded, in the lowest bits of 1.5 * 2^23
        n = shifted - np.float32(12582912)
        x = x - n * np.float32(0.693359375)
        x = x + n * np.float32(2.12194440e-4)  # ln 2 in two parts
        p = np.float32(1.9875691500e-4)
        p = p * x + np.float32(1.3981999507e-3)
        p = p * x + np.float32(8.3334519073e-3)
        p = p * x + np.float32(4.1665795894e-2)
        p = p * x + np.float32(1.6666665459e-1)
        p = p * x + np.float32(5.0000001201e-1)
        p = p * x * x + x + np.float32(1)
        power = np.uint32((shifted.view(np.uint32) << np.uint32(23)) + np.uint32(0x3F800000)).view(np.float32)  # 2^n
        return p * power

    return of_float32


def tangent(x):
    """tanh x, for float32 as a loop over j can take it: x P(x^2) / Q(x^2), both of degree 4, fitted to the smallest largest relative
    error over [-9, 9], beyond which tanh rounds to 1 (within 3e-7 of the value, of which 2e-8 are the fit)."""
    return math.tanh(x)


@overload(tangent, inline="always", jit_options=OPTIONS)
def compile_tangent(x):
    if x != types.float32:
        return lambda x: math.tanh(x)

    def of_float32(x):
        x = np.float32(-9) if x < np.float32(-9) else x
        x = np.float32(9) if x > np.float32(9) else x
        square = x * x
        p = np.float32(1.3355454520080912e-8)
        p = p * square + np.float32(2.060971200990025e-5)
        p = p * square + np.float32(3.4956287126988173e-3)
        p = p * square + np.float32(0.1338106095790863)
        p = p * square * x + x
        q = np.float32(7.776899906275503e-7)
        q = q * square + np.float32(3.2856996404007077e-4)
        q = q * square + np.float32(2.587713859975338e-2)
        q = q * square + np.float32(0.4671437740325928)
        q = q * square + np.float32(1)
        return p / q

    return of_float32


def read(row, into):
    """A row of a product's result, as floating-point numbers."""
    raise NotImplementedError("compiled code only (NUMBA_DISABLE_JIT is not for ncf)")


@overload(read)
def compile_read(row, into):
    if isinstance(row.dtype, types.Float):

        def read_floats(row, into):
            for j in range(len(into)):
                into[j] = row[j]

        return read_floats

    def read_bfloats(row, into):
        for j in range(len(into)):
            into[j] = np.uint32(np.uint32(row[j]) << np.uint32(16)).view(np.float32)

    return read_bfloats


def hand_over(row, factor):
    """A row as the next product reads it: rounded to bfloat16 (to the nearest, ties to even), or the row itself, which is there."""
    raise NotImplementedError("compiled code only (NUMBA_DISABLE_JIT is not for ncf)")


@overload(hand_over)
def compile_hand_over(row, factor):
    if isinstance(factor.dtype, types.Float):
        return lambda row, factor: None

    def round_to_bfloats(row, factor):
        for j in range(len(row)):
            bits = np.float32(row[j]).view(np.uint32)
            factor[j] = np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))

    return round_to_bfloats


@njit(**OPTIONS)
def softmax(z, f):
    largest, total = z[0], f.dtype.type(0)
    for j in range(len(f)):
        largest = max(largest, z[j])
    for j in range(len(f)):
        f[j] = math.exp(z[j] - largest)
        total += f[j]
    for j in range(len(f)):
        f[j] /= total


@njit(**OPTIONS)
def activate(kind, z, f, threshold):
    """f = phi(z), a row; `threshold` is that of the soft one."""
    zero, one = f.dtype.type(0), f.dtype.type(1)
    if kind == RELU:
        for j in range(len(f)):
            f[j] = z[j] if not z[j] <= zero else zero  # (what is no number stays so)
    elif kind == TANH:
        for j in range(len(f)):
            f[j] = tangent(z[j])
    elif kind == SIGMOID:
        for j in range(len(f)):
            f[j] = one / (one + exponential(-z[j]))
    elif kind == SOFTMAX:
        softmax(z, f)
    elif kind == THRESHOLD:
        for j in range(len(f)):
            f[j] = z[j] - threshold if z[j] > threshold else z[j] + threshold if z[j] < -threshold else z[j] * zero
    else:
        for j in range(len(f)):
            f[j] = z[j]


@njit(**OPTIONS, inline="always")
def slope(d, z_i, f_i, terms):
    """d *= phi'(z), a row; relu'(0) = 1."""
    zero, one, size = d.dtype.type(0), d.dtype.type(1), len(d)
    if terms.derivative and terms.activation == RELU:  # relu'(0) = 1
        for j in range(size):
            d[j] = d[j] if z_i[j] >= zero else zero
    elif terms.derivative and terms.activation == TANH:
        for j in range(size):
            d[j] *= one - f_i[j] * f_i[j]
    elif terms.derivative and terms.activation == SIGMOID:
        for j in range(size):
            d[j] *= f_i[j] * (one - f_i[j])
    elif terms.derivative and terms.activation == THRESHOLD:
        for j in range(size):
            d[j] = d[j] if abs(z_i[j]) > terms.threshold else zero


@njit(**OPTIONS, inline="always")
def compete(d, f_i, term, terms):
    """d -= alpha_h (sum of the column's f) - (alpha_h + alpha_e) f, a row; `term` is scratch."""
    zero, size = d.dtype.type(0), len(d)
    if terms.columns:
        for start in range(0, size, terms.columns):
            total = zero
            for j in range(start, start + terms.columns):
                total += f_i[j]
            total *= terms.inhibition
            for j in range(start, start + terms.columns):
                term[j] = total
        for j in range(size):
            d[j] -= term[j] - (terms.inhibition + terms.self_excitation) * f_i[j]


@njit(**OPTIONS, inline="always")
def believe(d, z_i, terms):
    """d -= lambda times the prior's slope at z, a row."""
    zero, one, size = d.dtype.type(0), d.dtype.type(1), len(d)
    if terms.prior == LAPLACE:
        for j in range(size):
            d[j] -= terms.strength * ((one if z_i[j] > zero else zero) - (one if z_i[j] < zero else zero))
    elif terms.prior == GAUSSIAN:
        for j in range(size):
            d[j] -= terms.strength * z_i[j]
    elif terms.prior == CAUCHY:
        for j in range(size):
            d[j] -= terms.strength * ((z_i[j] + z_i[j]) / (one + z_i[j] * z_i[j]))


@partial(Compiled, **OPTIONS)
def move(z, v, f, f_in, drive, error, seen, rates, switches, beta, momentum, awake):
    """A. d_s = feedback_s [* phi'(z_s)] - [e_s] - [lateral_s] - [prior_s] - gamma z_s, then z_s += beta d_s (or v_s), f_s = phi(z_s).

    Tuples over the populations that can move; those that are `awake` do. `drive` is the sum of e_t E_ts; units that are `seen` stay as
    they are (empty: none are).
    """
    one = z[0].dtype.type(1)
    for l in range(len(z)):
        if not awake[l]:
            continue
        rows, size = z[l].shape
        seen_l, rate, switch = seen[l], rates[l], switches[l]
        term_of = Terms(rate[0], rate[1], rate[2], rate[3], rate[4], switch[0], switch[1], switch[2], switch[3], switch[4], switch[5])
        d, term = np.empty(size, z[l].dtype), np.empty(size, z[l].dtype)
        for i in range(rows):
            z_i, f_i = z[l][i], f[l][i]
            read(drive[l][i], d)
            slope(d, z_i, f_i, term_of)
            if term_of.predicted:
                read(error[l][i], term)
                for j in range(size):
                    d[j] -= term[j]
            compete(d, f_i, term, term_of)
            believe(d, z_i, term_of)
            for j in range(size):
                d[j] -= term_of.gamma * z_i[j]
            if seen_l.size:
                for j in range(size):
                    d[j] *= one - seen_l[i, j]
            if term_of.heavy_ball:
                v_i = v[l][i]
                for j in range(size):
                    v_i[j] = momentum * v_i[j] + beta * d[j]
                for j in range(size):
                    z_i[j] += v_i[j]
            else:
                for j in range(size):
                    z_i[j] += beta * d[j]
            activate(term_of.activation, z_i, f_i, term_of.threshold)
            hand_over(f_i, f_in[l][i])


@partial(Compiled, **OPTIONS)
def compare(target, drive, observed, mu, r, r_in, g, threshold, driven, compared, keep):
    """B, C. mu_t = g_t(drive_t), r_t = target_t - mu_t; r_t times `observed` unless that is empty.

    Tuples over the predicted populations, of which those `compared` are; one that is not `driven` is predicted by populations at rest:
    drive = 0. `r_in` is what the next step needs; mu and r themselves stay as they were unless `keep` (without bfloat16 `r_in` is r).
    """
    for l in range(len(r)):
        if not compared[l]:
            continue
        rows, size = r[l].shape
        observed_l, driven_l, g_l = observed[l], driven[l], g[l]
        term = np.zeros(size, r[l].dtype)
        mu_i, r_i = np.empty(size, r[l].dtype), np.empty(size, r[l].dtype)
        for i in range(rows):
            target_i = target[l][i]
            if keep:
                mu_i, r_i = mu[l][i], r[l][i]
            if driven_l:
                read(drive[l][i], term)
            activate(g_l, term, mu_i, threshold)
            for j in range(size):
                r_i[j] = target_i[j] - mu_i[j]
            if observed_l.size:
                observed_i = observed_l[i]
                for j in range(size):
                    r_i[j] *= observed_i[j]
            hand_over(r_i, r_in[l][i])
