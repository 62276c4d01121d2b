"""A circuit: populations of neurons, the bundles of synapses by which they predict one another, and the feedback of their errors.

    bundle    source -> target    mu_t = g_t( sum over bundles into t of f_s W_st )
    feedback  target -> source    d_s  = sum over feedback into s of e_t E_ts [phi'] - [e_s if s is predicted] - ...
    delayed   source -> target    mu_t[frame n] = g_t( ... + sum over delayed bundles into t of f_s[n-1] R_st ), without feedback: the past does not move

A population that nothing predicts is a root: a latent root's prior is fitted after training or learned in it, an observed root (a label on top) is given.
Populations are numbered with predicted ones first, each before whatever predicts it, and roots last, so that the lists of a `State` end
with its roots. A chain is numbered as the paper numbers its layers: 0 is the image. Delayed bundles may form circles; a population that they
alone predict has errors and precision as every predicted one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ncf.errors import UserError, nearest

NEVER = 10**9  # the step in which what no error reaches first moves


@dataclass(frozen=True)
class Population:
    name: str
    size: int
    observed: str | None = None  # what the data may clamp it to: image or label
    likelihood: str | None = None  # of an observed population that is predicted
    activation: str = "relu"  # phi
    prediction: str = "relu"  # g
    target: str = "activity"  # what its error compares with the prediction: activity or state
    prior: str = "none"
    columns: int = 0  # units per column of lateral competition; 0: none compete
    precision: str = "none"
    label: str = ""  # of its covariance and precision in a checkpoint: Sigma + label, Q + label


@dataclass(frozen=True)
class Bundle:
    """Generative synapses `name`, (J_source, J_target)."""

    name: str
    source: int
    target: int


@dataclass(frozen=True)
class Feedback:
    """What brings the errors of `source` to the states of `target`: error synapses `name`, (J_source, J_target), else the bundle's transposed."""

    source: int
    target: int
    bundle: Bundle | None  # the one that predicts the other way, where there is one
    name: str | None  # None: tied


@dataclass(frozen=True)
class Circuit:
    populations: tuple[Population, ...]
    bundles: tuple[Bundle, ...]
    feedback: tuple[Feedback, ...]
    delayed: tuple[Bundle, ...] = ()  # they read what their source was one frame before

    @cached_property
    def names(self) -> list[str]:
        return [p.name for p in self.populations]

    @cached_property
    def sizes(self) -> list[int]:
        return [p.size for p in self.populations]

    @cached_property
    def n_predicted(self) -> int:
        return len({bundle.target for bundle in (*self.bundles, *self.delayed)})

    @cached_property
    def hidden(self) -> list[int]:
        return [i for i, p in enumerate(self.populations) if p.observed is None]

    @cached_property
    def observed(self) -> dict[str, int]:
        """image, label -> the population that the data shows them to."""
        return {p.observed: i for i, p in enumerate(self.populations) if p.observed is not None}

    @cached_property
    def tops(self) -> list[int]:
        """The uppermost hidden populations: those that no hidden one predicts. Their activities are a circuit's code of what it sees."""
        below = {b.target for b in self.bundles if b.source in self.hidden}
        return [i for i in self.hidden if i not in below]

    @cached_property
    def predicts_image(self) -> bool:
        return self.observed.get("image") == 0 and self.n_predicted > 0

    @cached_property
    def skips(self) -> list[Bundle]:
        """Bundles past a population: from their source another way leads to their target, through that population."""
        below: dict[int, set[int]] = {}
        for i in range(len(self.populations)):  # targets come first
            below[i] = set().union(*({b.target} | below[b.target] for b in self.bundles if b.source == i))
        return [b for b in self.bundles if any(b.target in below[other.target] for other in self.bundles if other.source == b.source)]

    def into(self, target: int) -> list[Bundle]:
        return [b for b in self.bundles if b.target == target]

    def feedback_into(self, target: int) -> list[Feedback]:
        return [f for f in self.feedback if f.target == target]

    def waking(self, moving: list[int], at_once: bool = False) -> dict[int, int]:
        """The step in which each moving population first leaves rest.

        An error can be other than zero from the first step on that compares anything: with an observed target, or where a given root
        or an awake source predicts; what it feeds moves one step later. `at_once`: some phi(0) or g(0) is not zero, so all move.
        """
        if at_once:
            return dict.fromkeys(moving, 1)
        first = {i: NEVER if i in moving else 0 for i in range(len(self.populations))}  # a given root is there before the first step
        first |= {i: 1 for i in moving if self.populations[i].observed}  # and what is seen of a root predicts in the first
        while True:
            error = [
                1 if i not in moving and self.populations[i].observed else max(1, min([first[i], *(first[b.source] for b in self.into(i))]))
                for i in range(self.n_predicted)
            ]
            woken = {i: self.wakes(i, error) if i in moving and not self.populations[i].observed else first[i] for i in first}
            if woken == first:
                return {i: woken[i] for i in moving}
            first = woken

    def wakes(self, i: int, error: list[int]) -> int:
        reached = [error[f.source] for f in self.feedback_into(i)] + ([error[i]] if i < self.n_predicted else [])
        return min([step + 1 for step in reached if step < NEVER], default=NEVER)


def arranged(
    populations: list[Population],
    bundles: list[tuple[str, str, str]],
    feedback: list[tuple[str, str, str | None]],
    delayed: Sequence[tuple[str, str, str]] = (),
) -> Circuit:
    """A circuit of populations by name, bundles (name, source, target) and feedback (source, target, name or None for tied), checked and numbered."""
    if not populations:
        raise UserError("model.populations is empty: write out at least an observed image and what predicts it")
    known = [p.name for p in populations]
    for key, arrows in (("bundles", [(s, t) for _, s, t in (*bundles, *delayed)]), ("feedback", [(s, t) for s, t, _ in feedback])):
        for source, target in arrows:
            for name in (source, target):
                require_population(name, known, f"model.{key}: '{source} -> {target}'")
    order = numbered(populations, bundles, delayed)
    number = {p.name: i for i, p in enumerate(order)}
    made = [Bundle(name, number[source], number[target]) for name, source, target in bundles]
    across = {(b.target, b.source): b for b in made}
    circuit = Circuit(
        tuple(order),
        tuple(made),
        tuple(Feedback(number[s], number[t], across.get((number[s], number[t])), name) for s, t, name in feedback),
        tuple(Bundle(name, number[source], number[target]) for name, source, target in delayed),
    )
    require_meaning(circuit)
    return circuit


def numbered(populations: list[Population], bundles: list[tuple[str, str, str]], delayed: Sequence[tuple[str, str, str]]) -> list[Population]:
    """Predicted populations first, each before whatever predicts it (the image first of all), and then the roots. UserError for a cycle."""
    predicted = {target for _, _, target in (*bundles, *delayed)}
    waiting = [p for p in populations if p.name in predicted]
    waiting.sort(key=lambda p: p.observed != "image")  # (a stable sort)
    placed: list[Population] = []
    while waiting:
        known = {p.name for p in placed}
        ready = [p for p in waiting if all(target in known for _, source, target in bundles if source == p.name)]
        if not ready:
            raise UserError(f"model.bundles: {', '.join(p.name for p in waiting)} predict one another in a circle; a circuit has a top")
        placed.append(ready[0])
        waiting.remove(ready[0])
    roots = [p for p in populations if p.name not in predicted]
    return placed + sorted(roots, key=lambda p: p.observed is not None)


def require_population(name: str, known, where: str) -> None:
    if name not in known:
        raise UserError(f"{where}: there is no population {name!r}; {nearest(name, known)}")


def require_meaning(circuit: Circuit) -> None:
    """What a circuit cannot mean, in one line that names the population or the bundle."""
    seen: set[str] = set()
    for text in [words(circuit, b) for b in circuit.bundles] + [f"{words(circuit, b)} delayed" for b in circuit.delayed]:
        if text in seen:
            raise UserError(f"model.bundles: '{text}' is written twice")
        seen.add(text)
    back: set[tuple[int, int]] = set()
    for f in circuit.feedback:
        if (f.source, f.target) in back:
            raise UserError(f"model.feedback: '{words(circuit, f)}' is written twice")
        back.add((f.source, f.target))
        if f.source >= circuit.n_predicted:
            raise UserError(f"model.feedback: '{words(circuit, f)}': nothing predicts {circuit.names[f.source]}, so it has no errors")
        if f.name is None and f.bundle is None:
            raise UserError(
                f"model.feedback: '{words(circuit, f)}' is tied to a bundle that does not exist; write learned behind it, or add the bundle"
            )
    predicted = circuit.populations[: circuit.n_predicted]
    if not any(p.observed for p in predicted):
        raise UserError(
            "model.populations: no observed population is predicted, so there is nothing to learn from; add {observed: image} and a bundle into it"
        )
    kinds = [p.observed for p in circuit.populations if p.observed]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise UserError(f"model.populations: {kind} is observed by several populations; one is enough, it may take part in several bundles")
    waking = circuit.waking(circuit.hidden)
    for i, p in enumerate(circuit.populations):
        if p.columns and p.size % p.columns:
            raise UserError(f"model.populations.{p.name}: {p.size} units do not divide into columns of {p.columns}")
        if not any(i in (b.source, b.target) for b in (*circuit.bundles, *circuit.delayed)):
            raise UserError(f"model.populations.{p.name}: no bundle leads to it or from it")
        if p.observed is None and not any(b.source == i for b in (*circuit.bundles, *circuit.delayed)):
            raise UserError(f"model.populations.{p.name}: it is hidden and predicts nothing; give it a bundle, e.g. '{p.name} -> {circuit.names[0]}'")
        if waking.get(i, 0) >= NEVER:
            raise UserError(f"model.populations.{p.name}: no error ever reaches it; give it feedback, e.g. '{circuit.names[0]} -> {p.name}'")


def require_moved(circuit: Circuit) -> None:
    """UserError for feedback, written out, into a population that is observed and predicted: its errors count, and it never moves."""
    still = [i for i in range(circuit.n_predicted) if circuit.populations[i].observed]
    for f in circuit.feedback:
        if f.target in still:
            other_way = f", such as '{circuit.names[f.target]} -> {circuit.names[f.source]}'" if f.source not in still else ""
            raise UserError(
                f"model.feedback: '{words(circuit, f)}': {circuit.names[f.target]} is observed and predicted, so no error ever moves it; "
                f"feedback goes from the population whose errors are carried to the one that they move{other_way}"
            )


def words(circuit: Circuit, arrow: Bundle | Feedback) -> str:
    return f"{circuit.names[arrow.source]} -> {circuit.names[arrow.target]}"
