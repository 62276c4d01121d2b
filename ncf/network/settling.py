"""Settling on the processor as fast as its matrix products: the equations A, B, C of `ncf.network.gncn`, held to them by tests.

What is arranged differently, and why:
- What stands between the products is compiled: one pass over a layer's rows instead of one per operation (`ncf.network.kernels`).
- Samples do not interact while settling, so every core settles its own rows from the first step to the last: threads meet once
  per batch and not once per product.
- The synapses are brought into the product kernel's own order once per batch, not at every product (`ncf.network.products`).
- From rest, layer l of a chain first moves in step l + 1: products of known zeros are left out.
- With bfloat16 the factors of the products are copies of half the width, and so are the products; states, errors and sums stay
  float32.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ncf.network import kernels, solvers
from ncf.network.langevin import Noise
from ncf.network.products import Factors, matrices, on_all_cores, threads_for
from ncf.network.starts import starting_states, starting_synapses
from ncf.network.state import State, at_rest


def settle(
    network,
    given: dict[int, Tensor],
    masks: dict[int, Tensor],
    past: dict[int, Tensor],
    steps: int,
    dtype: torch.dtype | None = None,
    noise: Noise | None = None,
) -> State:
    """The state of `network` after `steps` steps, from rest, on what its observed populations are given after the `past`; products in `dtype`."""
    first = next(iter(given.values()))
    dtype = dtype or first.dtype
    rights = matrices(network)
    together = network.config.settle.tolerance > 0  # the batch stops, not a thread's part of it
    n_parts = 1 if together else threads_for(rights, len(first), dtype)
    bounds = [len(first) * i // n_parts for i in range(n_parts + 1)]
    factors = Factors(network, rights, dtype, rows=max(1, bounds[1]))
    state = empty_state(network, given, masks)
    starts = starting_states(network, given, masks)
    state.past, state.carried = past, network.carried(past)

    def settle_part(part: slice) -> None:
        with torch.no_grad():
            seen = {i: mask.expand_as(given[i])[part] for i, mask in masks.items()}
            rows = Rows(network, factors, cut(given, part), seen, cut(starts, part), cut(state.carried, part))
            rows.noise = noise and noise.of(part)
            rows.settle(steps)
            rows.write(state, part)

    on_all_cores(settle_part, [slice(start, stop) for start, stop in zip(bounds, bounds[1:])])
    return state


def cut(tensors: dict[int, Tensor], part: slice) -> dict[int, Tensor]:
    return {i: tensor[part] for i, tensor in tensors.items()}


@dataclass(frozen=True)
class Step:
    """What is done in one step, by place in the circuit: from rest, populations wake one after the other."""

    moves: bool  # whether any population does
    awake: np.ndarray  # of the populations that can move, whether they do, bool
    feedback: list[list[tuple[int, int]]]  # for each that moves, the places of its feedback and of its source; empty where it sleeps
    bundles: list[list[tuple[int, int]]]  # for each predicted population, the same of the bundles whose source is awake or given
    driven: np.ndarray  # whether there are any, bool
    compared: np.ndarray  # of the predicted populations, whether their errors can be other than zero, bool


def step_of(network, free: tuple[int, ...], k: int) -> Step:
    """Step k of 1..K with the products that are not of known zeros."""
    circuit = network.circuit
    silent = all(network.phi[i].silent for i in free) and all(g.silent for i, g in enumerate(network.g) if not circuit.populations[i].observed)
    wakes = network.config.settle.start != "rest" or network.config.settle.temperature > 0 or bool(circuit.delayed)
    waking = circuit.waking(list(free), at_once=wakes or not silent)  # (the past predicts from the first step on)
    moves = {i for i in free if waking[i] <= k}
    drives = moves | set(range(len(circuit.populations))).difference(free)
    feedback = [[(n, f.source) for n, f in enumerate(circuit.feedback) if f.target == i and i in moves] for i in free]
    bundles = [[(n, b.source) for n, b in enumerate(circuit.bundles) if b.target == i and b.source in drives] for i in range(circuit.n_predicted)]
    late = {b.target for b in circuit.delayed}
    driven = np.array([bool(into) or i in late for i, into in enumerate(bundles)])
    compared = np.array([bool(into) or i in moves or i not in free for i, into in enumerate(bundles)])
    return Step(bool(moves), np.array([i in moves for i in free]), feedback, bundles, driven, compared)


def steps_of(network, free: tuple[int, ...], steps: int) -> list[Step]:
    """Steps 1..K; once all are awake, every step is the same one."""
    if (free, steps) in network.plans:
        return network.plans[free, steps]
    plan: list[Step] = []
    for k in range(1, steps + 1):
        asleep = not plan or not plan[-1].awake.all()
        plan.append(step_of(network, free, k) if asleep else plan[-1])
    network.plans[free, steps] = plan
    return plan


def arrays(tensors: list[Tensor]) -> tuple[np.ndarray, ...]:
    """The same memory for compiled code; bfloat16 as its 16 bits."""
    return tuple((t.view(torch.uint16) if t.dtype == torch.bfloat16 else t).numpy() for t in tensors)


class Rows:
    """Some rows of a batch: their states at rest, and the steps on them. Lists over populations are numbered as in `State`."""

    def __init__(
        self,
        network,
        factors: Factors,
        given: dict[int, Tensor],
        masks: dict[int, Tensor],
        starts: dict[int, Tensor],
        carried: dict[int, Tensor],
    ):
        self.network, self.config, self.factors = network, network.config, factors
        self.steps, self.moving = 0, False
        self.noise: Noise | None = None
        self.masks = masks
        x = next(iter(given.values()))
        self.half = factors.dtype != x.dtype  # products read bfloat16 copies; else the arrays themselves
        self.free = network.free(masks)

        def zeros(size: int, dtype: torch.dtype | None = None) -> Tensor:
            return x.new_zeros(len(x), size, dtype=dtype)

        sizes, predicted = network.sizes, network.sizes[: network.circuit.n_predicted]
        self.z = [(given[i] * masks[i] if i in self.free else given[i]) if i in given else zeros(size) for i, size in enumerate(sizes)]
        self.f = [z if i in given and i not in self.free else z.clone() for i, z in enumerate(self.z)]
        self.started = bool(starts)
        for i, start in starts.items():
            self.z[i].copy_(start)
            network.phi[i].value(self.z[i], out=self.f[i])
        self.mu, self.r = [zeros(size) for size in predicted], [zeros(size) for size in predicted]
        sources = {bundle.source for bundle in network.circuit.bundles}
        self.f_in = [f.to(factors.dtype) if self.half and i in sources else f for i, f in enumerate(self.f)]
        self.r_in = [zeros(size, factors.dtype) for size in predicted] if self.half else self.r
        self.e_in = list(self.r_in)
        self.errors = list(arrays(self.e_in))  # as compiled code reads them
        fed = {feedback.target for feedback in network.circuit.feedback}
        self.unfed = [zeros(0 if i in fed else sizes[i], factors.dtype) for i in self.free]  # zeros where no errors come from below
        self.undriven = [zeros(0, factors.dtype)] * len(predicted)
        self.drives = list(self.undriven)
        self.carried = {i: c.to(factors.dtype) for i, c in carried.items()}
        self.bind(x, masks)

    def bind(self, x: Tensor, masks: dict[int, Tensor]) -> None:
        """Give the compiled functions the memory of these rows."""
        number, unseen = arrays([x])[0].dtype.type, np.empty((0, 0), arrays([x])[0].dtype)

        def moving(tensors: list[Tensor]) -> tuple[np.ndarray, ...]:
            return arrays([tensors[i] for i in self.free])

        def mask(i: int) -> np.ndarray:
            return masks[i].contiguous().numpy() if i in masks else unseen

        z, f, f_in = moving(self.z), moving(self.f), moving(self.f_in)
        mu, r, r_in = arrays(self.mu), arrays(self.r), arrays(self.r_in)
        v = z if self.config.settle.solver == "euler" else moving([torch.zeros_like(state) for state in self.z])
        predicted = self.network.circuit.populations[: len(mu)]
        targets = arrays([f if p.target == "activity" else z for p, f, z in zip(predicted, self.f, self.z)])
        g, threshold = tuple(kernels.ACTIVATIONS[activation.name] for activation in self.network.g), number(self.config.threshold)
        terms = [self.terms(i, number) for i in self.free]
        rates = np.array([row[: kernels.RATES] for row in terms], number)
        switches = np.array([row[kernels.RATES :] for row in terms], np.int64)
        held, seen = tuple(mask(i) for i in self.free), tuple(mask(i) for i in range(len(mu)))
        self.move_all = lambda drive, error, awake, beta, momentum: kernels.move(
            z, v, f, f_in, drive, error, held, rates, switches, number(beta), number(momentum), awake
        )
        self.compare_all = lambda drive, step, keep: kernels.compare(
            targets, drive, seen, mu, r, r_in, g, threshold, step.driven, step.compared, keep
        )

    def terms(self, i: int, number: type) -> kernels.Terms:
        config, p = self.config, self.network.circuit.populations[i]
        return kernels.Terms(
            gamma=number(config.settle.gamma),
            heavy_ball=config.settle.solver != "euler",
            activation=kernels.ACTIVATIONS[p.activation],
            derivative=config.derivative,
            predicted=i < len(self.mu),
            columns=p.columns,
            prior=kernels.PRIORS[p.prior],
            strength=number(config.prior.strength),
            self_excitation=number(config.lateral.self_excitation),
            inhibition=number(config.lateral.inhibition),
            threshold=number(config.threshold),
        )

    def settle(self, steps: int) -> None:
        tolerance = self.config.settle.tolerance
        schedule = zip(solvers.schedule(self.config.settle, steps), steps_of(self.network, self.free, steps))
        if self.started:
            step = step_of(self.network, self.free, 1)
            self.predict_and_compare(step)
        for k, ((beta, momentum), step) in enumerate(schedule, start=1):
            before = self.states() if tolerance else None
            if step.moves:
                self.move(step, beta, momentum)
            self.predict_and_compare(step)
            self.steps = k
            self.moving = bool(tolerance) and not (k > len(self.free) and at_rest(before, self.states(), tolerance))
            if tolerance and not self.moving:
                break
        if self.half and (steps or self.started):  # no step reads mu and r themselves: they are written once, after the last
            self.compare_all(arrays(self.drives), step, True)

    def states(self) -> Tensor:
        return torch.cat([self.z[i] for i in self.free], dim=1)

    def move(self, step: Step, beta: float, momentum: float) -> None:
        """A. States and activities of the populations that are awake, all from the errors of the last step."""
        self.drives = list(self.undriven)  # the last step's make room in the cache
        drives = list(self.unfed)
        for place, feedback in enumerate(step.feedback):
            for n, (which, source) in enumerate(feedback):
                factor, error = self.factors.feedback[which], self.e_in[source]
                drives[place] = factor.added(error, drives[place]) if n else factor.after(error)
        errors = tuple([self.errors[i if i < len(self.mu) else 0] for i in self.free])  # (a root has none)
        self.move_all(arrays(drives), errors, step.awake, beta, momentum)
        if self.noise:
            self.stir(beta)

    def stir(self, beta: float) -> None:
        """Langevin's noise, and the activities after it."""
        self.noise.stir({i: self.z[i] for i in self.free}, beta, self.masks)  # type: ignore[union-attr]
        for i in self.free:
            self.network.phi[i].value(self.z[i], out=self.f[i])
            if self.half and self.f_in[i] is not self.f[i]:
                self.f_in[i].copy_(self.f[i])

    def predict_and_compare(self, step: Step) -> None:
        """B. Predictions by what is awake or given, and C. errors."""
        for i, bundles in enumerate(step.bundles):
            for n, (which, source) in enumerate(bundles):
                factor, f = self.factors.bundles[which], self.f_in[source]
                self.drives[i] = factor.added(f, self.drives[i]) if n else factor.after(f)
            if i in self.carried:
                self.drives[i] = self.drives[i].add_(self.carried[i]) if bundles else self.carried[i]
        self.compare_all(arrays(self.drives), step, not self.half)
        for i, factor in self.factors.q.items():
            if step.compared[i]:
                self.e_in[i] = factor.after(self.r_in[i])
                self.errors[i] = arrays([self.e_in[i]])[0]

    def write(self, state: State, rows: slice) -> None:
        """Put these rows into the state of the whole batch."""
        state.steps = max(state.steps, self.steps)
        state.moving |= self.moving
        for whole, part in ((state.mu, self.mu), (state.r, self.r)):
            for i, value in enumerate(part):
                whole[i][rows] = value
        for i in self.free:
            state.z[i][rows], state.f[i][rows] = self.z[i], self.f[i]
        for i in self.factors.q:
            state.e[i][rows] = self.e_in[i]


def multiply_adds(network, steps: int) -> int:
    """Multiply-adds of the matrix products that settling one image takes, those of known zeros left out as above."""
    circuit, J = network.circuit, network.sizes

    def cost(step: Step) -> int:
        arrows = [circuit.feedback[n] for into in step.feedback for n, _ in into] + [circuit.bundles[n] for into in step.bundles for n, _ in into]
        return sum(J[arrow.source] * J[arrow.target] for arrow in arrows) + sum(J[i] ** 2 for i in network.q if step.compared[i])

    start = starting_synapses(network)
    compared = sum(J[b.source] * J[b.target] for b in circuit.bundles) + sum(J[i] ** 2 for i in network.q) if start else 0
    once = start + compared + sum(J[bundle.source] * J[bundle.target] for bundle in circuit.delayed)
    return once + sum(cost(step) for step in steps_of(network, tuple(circuit.hidden), steps))


def empty_state(network, given: dict[int, Tensor], masks: dict[int, Tensor]) -> State:
    """The batch's state, to be written by its parts."""
    first, sizes, free = next(iter(given.values())), network.sizes, network.free(masks)

    def empty(i: int) -> Tensor:
        return first.new_empty(len(first), sizes[i])

    predicted = range(network.circuit.n_predicted)
    z = [empty(i) if i in free else given[i] for i in range(len(sizes))]
    f = [empty(i) if i in free else given[i] for i in range(len(sizes))]
    mu, r = [empty(i) for i in predicted], [empty(i) for i in predicted]
    e = [empty(i) if i in network.q else r[i] for i in predicted]
    return State(z, f, mu, r, e, masks, tops=tuple(network.circuit.tops), free=free)
