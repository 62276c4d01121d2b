"""The generative neural coding network: one class for the whole family, equations in the paper's order.

Source: Ororbia and Kifer, "The neural coding framework for learning generative models", Nature Communications 13:2064
(2022). Rows are samples. A network is a circuit (`ncf.network.circuit`): populations s, t and bundles of synapses between them. Symbols (shapes):

    z_s, f_s = phi_s(z_s)   state and activity of population s                                 (B, J_s)
    mu_t, r_t, e_t          prediction of population t, its residual, its error neurons        (B, J_t)
    W_st                    generative synapses: s predicts t (W_l of a chain; M_l two layers down)  (J_s, J_t)
    E_ts                    error synapses: the errors of t move s (E_l of a chain)            (J_t, J_s)
    R_st                    delayed synapses: f_s[n-1], of the frame before, predicts t        (J_s, J_t)
    Sigma_t, Q_t            covariance of t given its prediction, and the matrix e_t = r_t Q_t
    beta, gamma, K          step size, leak, settling steps

A batch's way: `settle` returns a `State`; `local_updates` turns a state into one matrix per bundle of synapses; an optimizer
adds them; `adapt_precision` and `limit_norms` close the step. Autograd is off in all of it.
Longer than 300 lines, so that a reader finds every equation in one file.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ncf.config.schema import CircuitConfig, GNCNConfig
from ncf.errors import UserError
from ncf.network import cuda_graph, kernels, settling, solvers
from ncf.network.activations import activation
from ncf.network.circuit import Bundle, Circuit, Feedback
from ncf.network.discrepancy import bce, cross_entropy, squared_error, tod
from ncf.network.expand import circuit_of
from ncf.network.langevin import Noise, require_steps
from ncf.network.last_phase import last_phase_updates, require_last_phase
from ncf.network.likelihoods import LIKELIHOODS
from ncf.network.mixture import Mixture
from ncf.network.model import take_over
from ncf.network.precision import move_covariance, prepare_covariance, whitening
from ncf.network.priors import PRIOR_SLOPES
from ncf.network.starts import recogniser, recogniser_updates, require_start, starting_states
from ncf.network.state import State, at_rest
from ncf.network.top_prior import TopPrior


class GNCN:
    """One network: its circuit, its synapses (`parameters`) and its precision matrices."""

    def __init__(
        self,
        config: GNCNConfig | CircuitConfig,
        n_pixels: int,
        rng: np.random.Generator,
        device: str | torch.device = "cpu",
        n_classes: int = 0,
    ):
        self.config = config
        self.circuit: Circuit = circuit_of(config, {"image": n_pixels} | ({"label": n_classes} if n_classes else {}))
        populations = self.circuit.populations
        require_start(config.settle.start, self.circuit)
        require_steps(config.settle)
        self.names, self.sizes = self.circuit.names, self.circuit.sizes
        predictions = [LIKELIHOODS[p.likelihood].g if p.likelihood else p.prediction for p in populations[: self.circuit.n_predicted]]
        self.phi = [activation(p.activation, config.threshold) for p in populations]
        self.g = [activation(name, config.threshold) for name in predictions]
        image = {"fields"} | ({"frames"} if self.circuit.delayed else {"project"}) if self.circuit.predicts_image else set()
        label = {"label"} | ({"conditional"} if "project" in image else set()) if "label" in self.circuit.observed else set()
        own = {"own_prior"} if config.last_phase.components else set()
        self.abilities = frozenset({"settle"} | image | label | own)
        require_last_phase(self)
        self.compiled = all(phi.name in kernels.ACTIVATIONS for phi in [*self.phi, *self.g])  # a plugin's are not
        self.real_valued = False  # whether pixels are of any value, and not in [0, 1]
        self.product_dtype: torch.dtype | None = None  # of settling's products; None: that of the images
        self.force_dtype = torch.float32
        self.compile_steps = False  # on an accelerator (ncf.network.cuda_graph)
        self.recordings: dict = {}  # of settling, by shape (ncf.network.cuda_graph)
        self.lowered: dict = {}  # the network as those see it, by type
        self.plans: dict = {}  # of settling's steps (ncf.network.settling)
        self.parameters: dict[str, Tensor] = {}
        self.sigma: dict[int, Tensor] = {}
        self.q: dict[int, Tensor] = {}
        self.draw_synapses(rng, torch.device(device))
        wanted = config.last_phase.components
        self.prior = TopPrior(wanted, self.code_size, torch.device(device)) if wanted else None
        self.adapt_precision()
        self.adapt_precision()  # once at construction and once with the first norm limit (released)
        self.limit_norms()

    def draw_synapses(self, rng: np.random.Generator, device: torch.device) -> None:
        """W, E ~ N(0, init_sd^2); whitened Sigma = I + U(-0.01, 0.01) off the diagonal; published Sigma = I."""
        J = self.sizes

        def normal(*shape: int) -> Tensor:
            draw = rng.standard_normal(shape, dtype=np.float32)
            return torch.from_numpy(self.config.init_sd * draw).float().to(device)

        arrows: list[Bundle | Feedback] = [*self.circuit.bundles, *self.circuit.feedback, *self.circuit.delayed]
        for arrow in arrows:
            if arrow.name is not None:
                self.parameters[arrow.name] = normal(J[arrow.source], J[arrow.target])
        if self.config.settle.start == "recogniser":
            self.parameters |= recogniser(self, device)
        for i, p in enumerate(self.circuit.populations):
            if p.precision == "none":
                continue
            sigma = torch.eye(p.size)
            if p.precision == "whitened":
                noise = torch.from_numpy(rng.uniform(-0.01, 0.01, (p.size, p.size)).astype(np.float32))
                sigma += noise.fill_diagonal_(0)
                self.parameters[f"Sigma{p.label}"] = sigma.to(device)
            self.sigma[i] = self.parameters.get(f"Sigma{p.label}", sigma.to(device))

    # --- settling (inference) -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def settle(
        self,
        x: Tensor | dict[str, Tensor],
        observed: Tensor | dict[str, Tensor] | None = None,
        steps: int | None = None,
        y: Tensor | None = None,
        noise: Noise | None = None,
        before: State | None = None,
    ) -> State:
        """The state after K steps from rest, on images x (B, J_0) and, where a population observes labels, classes y (B,).

        Units with ``observed == 0`` are unseen: predicted ones carry no error and their prediction is the completion, roots settle freely. A
        mask is for the image, or a dict says it by what is observed, as x may: ``settle({"image": x, "label": one_hot}, {"image": seen})``.
        What is not given at all is unseen. `before` is the settled state of the frame before, which delayed bundles read (None: zeros).
        This is `settle_plainly` at the speed of its matrix products.
        """
        steps = self.config.settle.steps if steps is None else steps
        given, masks = self.observations(x, observed, y)
        past = self.past(before, next(iter(given.values())))
        device = next(iter(given.values())).device
        if device.type == "cpu":
            if not self.compiled:
                return self.settle_plainly(x, observed, steps, y, before, noise)
            return settling.settle(self, given, masks, past, steps, self.product_dtype, noise)
        with torch.autocast(device.type, self.product_dtype, enabled=self.product_dtype is not None, cache_enabled=False):
            return cuda_graph.settle(self, given, masks, steps, past, noise)

    @torch.no_grad()
    def settle_plainly(
        self, x, observed=None, steps: int | None = None, y: Tensor | None = None, before: State | None = None, noise: Noise | None = None
    ) -> State:
        """The same by the equations as they stand below, which `ncf.network.settling` is held to."""
        state = self.rest(x, observed, y, before)
        state.noise = noise
        return self.settle_from(state, steps)

    @torch.no_grad()
    def settle_from(self, state: State, steps: int | None = None) -> State:
        """A state at rest, settled in place."""
        before, tolerance = None, self.config.settle.tolerance
        for _ in self.trajectory(state, steps):
            if tolerance:
                now = torch.cat([state.z[i] for i in state.free], dim=1)
                state.moving = not (state.steps > len(state.free) and at_rest(before, now, tolerance))
                if not state.moving:
                    break
                before = now
        return state

    @torch.no_grad()
    def trajectory(self, state: State, steps: int | None = None) -> Iterator[State]:
        """From a state at rest, that state after each of the steps 1..K, changed in place."""
        for beta, momentum in solvers.schedule(self.config.settle, self.config.settle.steps if steps is None else steps):
            self.step(state, beta, momentum)
            state.steps += 1
            yield state

    def step(self, state: State, beta: float, momentum: float = 0.0) -> None:
        """One step of settling, in place: A, B and C."""
        self.move(state, beta, momentum)
        self.predict(state)
        self.compare(state)

    def observations(self, x, observed=None, y: Tensor | None = None) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """What the observed populations are clamped to, (B, J), and the masks of those not wholly seen, by population."""
        shown = dict(x) if isinstance(x, dict) else {"image": x}
        seen = dict(observed) if isinstance(observed, dict) else {} if observed is None else {"image": observed}
        first = next(iter(shown.values()))
        if y is not None and "label" in self.circuit.observed:
            shown["label"] = torch.nn.functional.one_hot(y.clamp(min=0), self.sizes[self.circuit.observed["label"]])
            if (y < 0).any():  # unknown ones are unseen
                seen["label"] = (y >= 0)[:, None].expand_as(shown["label"])
        given, masks = {}, {}
        for kind, i in self.circuit.observed.items():
            if kind in shown:
                given[i] = shown[kind].to(first)
            else:
                given[i], seen[kind] = first.new_zeros(len(first), self.sizes[i]), first.new_zeros(self.sizes[i])
            if kind in seen:
                masks[i] = seen[kind].to(first)
        return given, masks

    def free(self, masks: dict[int, Tensor]) -> tuple[int, ...]:
        """The populations that move: hidden ones, and observed roots that are not wholly seen."""
        return tuple(i for i, p in enumerate(self.circuit.populations) if p.observed is None or (i in masks and i >= self.circuit.n_predicted))

    def past(self, before: State | None, like: Tensor) -> dict[int, Tensor]:
        """f_s[n-1], (B, J_s), of the sources of delayed bundles: their activities in the frame before, zero where there was none."""
        sources = {bundle.source for bundle in self.circuit.delayed}
        return {i: like.new_zeros(len(like), self.sizes[i]) if before is None else before.f[i] for i in sorted(sources)}

    def carried(self, past: dict[int, Tensor]) -> dict[int, Tensor]:
        """c_t = sum over delayed bundles into t of f_s[n-1] R_st, (B, J_t), by population."""
        drives: dict[int, Tensor] = {}
        for bundle in self.circuit.delayed:
            part = past[bundle.source] @ self.parameters[bundle.name]
            drives[bundle.target] = drives[bundle.target] + part if bundle.target in drives else part
        return drives

    def rest(self, x, observed=None, y: Tensor | None = None, before: State | None = None) -> State:
        """Before the first step: all states, activities, predictions and errors are zero but for what is given, or as `settle.start` has them."""
        given, masks = self.observations(x, observed, y)
        return self.rest_on(given, masks, self.past(before, next(iter(given.values()))))

    def rest_on(self, given: dict[int, Tensor], masks: dict[int, Tensor], past: dict[int, Tensor]) -> State:
        first = next(iter(given.values()))
        zeros = [torch.zeros(len(first), size, device=first.device, dtype=first.dtype) for size in self.sizes]
        free, starts = self.free(masks), starting_states(self, given, masks)
        z = [given[i] * masks[i] if i in free and i in given else starts.get(i, given.get(i, zero)) for i, zero in enumerate(zeros)]
        z = [value.clone() if i in free else value for i, value in enumerate(z)]
        f = [self.phi[i].value(value, out=None) if i in starts else value.clone() if i in free else value for i, value in enumerate(z)]
        mu = [zero.clone() for zero in zeros[: self.circuit.n_predicted]]
        r = zeros[: self.circuit.n_predicted]
        e = [r_i.clone() if i in self.q else r_i for i, r_i in enumerate(r)]
        v = None if self.config.settle.solver == "euler" else [zero.clone() for zero in zeros]
        state = State(z, f, mu, r, e, masks, v, tops=tuple(self.circuit.tops), free=free, past=past, carried=self.carried(past))
        if starts:
            self.predict(state)
            self.compare(state)
        return state

    def move(self, state: State, beta: float, momentum: float = 0.0) -> None:
        """A. States: z_s += beta ( sum over t of e_t E_ts [* phi'(z_s)] - [e_s] - [lateral_s] - [prior_s] - gamma z_s ), f_s = phi(z_s).

        beta and m are those of this step (`ncf.network.solvers`); with m, v_s <- m v_s + beta (...), z_s += v_s. Noise: `ncf.network.langevin`.
        """
        for i in state.free:
            p, slope, z, f = self.circuit.populations[i], self.phi[i].slope, state.z[i], state.f[i]
            d = self.bottom_up(i, state)  # (B, J_s)
            if self.config.derivative and slope:
                d.mul_(slope(z, f))
            if i < self.circuit.n_predicted:
                d.sub_(state.e[i])
            if p.columns:
                d.sub_(lateral(f, p.columns, self.config.lateral.self_excitation, self.config.lateral.inhibition))
            if p.prior != "none":
                d.sub_(PRIOR_SLOPES[p.prior](z, out=torch.empty_like(z)), alpha=self.config.prior.strength)
            d.sub_(z, alpha=self.config.settle.gamma)
            if i in state.observed:  # a root of which a part is seen
                d.mul_(1 - state.observed[i])
            if state.v is None:
                z.add_(d.mul_(beta))
            else:
                z.add_(state.v[i].mul_(momentum).add_(d.mul_(beta)))
        if state.noise:
            state.noise.stir({i: state.z[i] for i in state.free}, beta, state.observed)
        for i in state.free:
            self.phi[i].value(state.z[i], out=state.f[i])

    def bottom_up(self, i: int, state: State) -> Tensor:
        """The errors that move population s: sum over feedback into it of e_t E_ts, (B, J_s)."""
        total = None
        for feedback in self.circuit.feedback_into(i):
            part = (state.e[feedback.source] @ self.error_synapses(feedback)).to(state.z[i].dtype)
            total = part if total is None else total.add_(part)
        return torch.zeros_like(state.z[i]) if total is None else total

    def error_synapses(self, feedback: Feedback) -> Tensor:
        """E_ts where they are learned, else W_st^T, (J_t, J_s)."""
        return self.parameters[feedback.name] if feedback.name else self.parameters[feedback.bundle.name].T  # type: ignore[union-attr]

    def predict(self, state: State) -> None:
        """B. Predictions: mu_t = g_t( sum over bundles into t of f_s W_st [+ c_t] ), where c_t is carried over from the frame before."""
        for i, mu in enumerate(state.mu):
            drives = [state.f[bundle.source] @ self.parameters[bundle.name] for bundle in self.circuit.into(i)]
            first, *more = [*drives, state.carried[i]] if i in state.carried else drives
            mu.copy_(first)
            for drive in more:
                mu.add_(drive)
            self.g[i].value(mu, out=mu)

    def compare(self, state: State) -> None:
        """C. Errors: r_t = target_t - mu_t, and e_t = r_t [Q_t]. The target of what is observed is what is seen of it.

        e_0 = x - mu_0 for every likelihood (`ncf.network.likelihoods` says which gradient that is).
        """
        for i, mu in enumerate(state.mu):
            target = state.f[i] if self.circuit.populations[i].target == "activity" else state.z[i]
            torch.sub(target, mu, out=state.r[i])
            if i in state.observed:
                state.r[i].mul_(state.observed[i])
            if i in self.q:
                state.e[i].copy_(state.r[i] @ self.q[i])

    # --- learning -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def local_updates(self, state: State, y: Tensor | None = None, rng: np.random.Generator | None = None) -> dict[str, Tensor]:
        """One ascent direction per bundle of synapses, averaged over the batch; classes play no part, and `rng` only in a last phase,
        whose updates are added (`ncf.network.last_phase`).

        dW_st = f_s^T e_t / B,  dE_ts = e_t^T f_s / B times `error_rate` (dW_st^T where there is that bundle),  dR_st = f_s[n-1]^T e_t / B,
        dSigma_t = ( e_t^T e_t - Q_t ) / (2B) for whitened precision. For published precision Sigma_t comes with S_t = r_t^T r_t / B,
        which no optimizer adds: `adapt_precision` takes it, and so it does what a prior of the top learns from (Prior.mass ..).
        """
        last = self.config.last_phase
        updates = {name: torch.zeros_like(synapses) for name, synapses in self.parameters.items()} if last.alone else self.settled_updates(state)
        for name, update in last_phase_updates(self, state, rng).items() if last.steps else ():
            updates[name] = updates[name].add_(update) if name in updates else update
        return updates

    def settled_updates(self, state: State) -> dict[str, Tensor]:
        """Those of `local_updates` that a settled state makes."""
        rows = len(state.z[0])
        batch = state.batch or rows
        updates = self.products(dict(enumerate(state.f)), dict(enumerate(state.e)), batch)
        if self.config.settle.start == "recogniser":
            updates |= recogniser_updates(self, state)
        for bundle in self.circuit.delayed:
            updates[bundle.name] = (state.past[bundle.source].T @ state.e[bundle.target]).div_(batch)
        for i in self.sigma:
            p = self.circuit.populations[i]
            if p.precision == "whitened":
                updates[f"Sigma{p.label}"] = (state.e[i].T @ state.e[i]).sub_(self.q[i], alpha=rows / batch).div_(2 * batch)
            else:
                updates[f"Sigma{p.label}"] = (state.r[i].T @ state.r[i]).div_(batch)
        return updates

    def products(self, f: dict[int, Tensor], e: dict[int, Tensor], batch: int) -> dict[str, Tensor]:
        """dW_st = f_s^T e_t / B and dE_ts = e_t^T f_s / B times `error_rate`, by name, from activities and errors by population."""
        updates = {b.name: (f[b.source].T @ e[b.target]).div_(batch) for b in self.circuit.bundles}
        for feedback in self.circuit.feedback:
            if feedback.name and feedback.bundle:
                updates[feedback.name] = updates[feedback.bundle.name].T * self.config.error_rate
            elif feedback.name:
                updates[feedback.name] = (e[feedback.source].T @ f[feedback.target]).div_(batch) * self.config.error_rate
        return updates

    @torch.no_grad()
    def adapt_precision(self, updates: dict[str, Tensor] | None = None) -> None:
        """New Q_t for the next batch; for published precision Sigma_t learns here, from the S_t among the batch's updates (unless synapses learn in the last
        phase alone), and so does a prior of the top."""
        rule, stays = self.config.precision, updates is not None and self.config.last_phase.alone
        for i, sigma in self.sigma.items() if not stays else ():
            p = self.circuit.populations[i]
            if p.precision == "whitened":
                prepare_covariance(sigma)
            elif updates is not None:
                move_covariance(sigma, updates[f"Sigma{p.label}"], rule.rate, rule.shrinkage, rule.floor)
            factor = torch.linalg.cholesky(sigma)
            q = whitening(factor) if p.precision == "whitened" else torch.cholesky_inverse(factor)
            self.q[i] = self.q[i].copy_(q) if i in self.q else q  # in its place: recordings of settling read it there
        if self.prior is not None and updates is not None:
            self.prior.learn(updates)

    @torch.no_grad()
    def limit_norms(self) -> None:
        """Every column (axis 0: all synapses of a bundle into one unit) or row (axis 1: out of one unit) scaled to the radius: if above (limit)
        or always (unit).

        A recogniser's are free. Whitened Sigma is limited to 1 whatever is chosen for the synapses: without that its precision step lets it grow for ever.
        """
        chosen = self.config.constraint
        for name, synapses in self.parameters.items():
            kind, radius, axis = ("limit", 1.0, "into") if name.startswith("Sigma") else (chosen.kind, chosen.radius, chosen.axis)
            if kind == "none" or name.startswith("Rec["):
                continue
            norms = torch.linalg.vector_norm(synapses, dim=0 if axis == "into" else 1, keepdim=True)
            scale = radius / norms.clamp_(min=1e-12)
            synapses.mul_(scale.clamp_(max=1.0) if kind == "limit" else scale)

    # --- generation ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def project(self, code: Tensor, given: dict[str, Tensor] | None = None, rng: np.random.Generator | None = None) -> Tensor:
        """Ancestral projection: images mu_0 (S, J_0) from the activities of the top populations (S, J_top).

        The argument is an activity: phi is not applied to it again. `given` shows observed roots (label), which are zero otherwise. Without noise, or,
        with `rng`, every hidden population below the top is drawn from N(mu, Sigma), Sigma = I where it has no precision.
        """
        return self.g[0].value(self.descend(code, given, rng)[0][0], out=None)

    def drive(self, code: Tensor, given: dict[str, Tensor] | None = None) -> Tensor:
        """What stands before g_0 in the projection, (S, J_0). Autograd may pass through it: estimates of log p(x) follow its slope."""
        return self.descend(code, given)[0][0]

    def project_from(self, state: State, lowest: int) -> Tensor:
        """Images mu_0 (B, J_0) from the settled activities of population `lowest` and of the hidden ones above it; those below it are predicted, and
        observed roots are zero."""
        held = {i: state.f[i] for i in self.circuit.hidden if i >= lowest}
        return self.g[0].value(self.descend(state.code, held=held)[0][0], out=None)

    def descend(
        self,
        code: Tensor,
        given: dict[str, Tensor] | None = None,
        rng: np.random.Generator | None = None,
        held: dict[int, Tensor] | None = None,
    ) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """From the top down: the drives z_t = sum over bundles into t of f_s W_st, and f_t = phi(z_t), by population; of the image the drive
        stands before g_0. Roots have no drive, nor has what is `held`. `rng`: noise around the predictions, on what their errors compare, state
        or activity."""
        tops = self.circuit.tops
        z, f = {}, dict(zip(tops, code.split([self.sizes[i] for i in tops], dim=1))) | (held or {})
        for i in range(len(self.sizes) - 1, -1, -1):
            p = self.circuit.populations[i]
            if i in f:
                continue
            if i >= self.circuit.n_predicted:
                f[i] = (given or {}).get(p.observed or "", code.new_zeros(len(code), p.size))
                continue
            first, *more = self.circuit.into(i)
            z[i] = f[first.source] @ self.parameters[first.name]
            for bundle in more:
                z[i] = z[i].addmm(f[bundle.source], self.parameters[bundle.name])
            if rng is not None and p.observed is None and p.target == "state":
                z[i] = self.g[i].value(z[i], out=None) + self.deviation(i, len(code), rng)
            f[i] = self.phi[i].value(z[i], out=None) if p.observed is None else z[i]
            if rng is not None and p.observed is None and p.target == "activity":
                f[i] = self.g[i].value(z[i], out=None) + self.deviation(i, len(code), rng)
        return z, f

    def deviation(self, i: int, n: int, rng: np.random.Generator) -> Tensor:
        """n draws from N(0, Sigma_i), (n, J_i)."""
        like = self.parameters[self.circuit.into(i)[0].name]
        draws = torch.from_numpy(rng.standard_normal((n, self.sizes[i]), dtype=np.float32)).to(like)
        return draws @ torch.linalg.cholesky(self.sigma[i]).T if i in self.sigma else draws

    @torch.no_grad()
    def foresee(self, before: State) -> Tensor:
        """The image of the next frame before it is seen, mu_0 (B, J_0): from the top down every population takes the value that is predicted for it,
        mu_t = g_t( sum over bundles into t of f_s W_st + c_t ), with c_t of the state `before`. Roots are silent."""
        carried, f = self.carried(self.past(before, before.f[0])), {}
        for i in reversed(range(len(self.sizes))):
            if i >= self.circuit.n_predicted:
                f[i] = torch.zeros_like(before.f[i])
                continue
            drives = [f[bundle.source] @ self.parameters[bundle.name] for bundle in self.circuit.into(i)]
            first, *more = [*drives, carried[i]] if i in carried else drives
            f[i] = self.g[i].value(sum(more, first), out=None)
            if self.circuit.populations[i].target == "state" and i in self.circuit.hidden:
                f[i] = self.phi[i].value(f[i], out=None)
        return f[0]

    def losses(self, state: State, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """BCE and ToD, (B,) each. For BCE stands in the squared error where pixels are real-valued, and the classes' cross-entropy where the
        image is no prediction but what predicts."""
        if self.circuit.predicts_image:
            return squared_error(state) if self.real_valued else bce(state), tod(state)
        if y is None:
            raise UserError("model: a circuit that predicts the label needs images with classes; choose another dataset")
        return cross_entropy(state.mu[self.circuit.observed["label"]], y), tod(state)

    def told(self, state: State) -> Tensor:
        """What a settled state says of the label it has not seen: its prediction, or, where the label is a root, its state, (B, C)."""
        i = self.circuit.observed["label"]
        return state.mu[i] if i < self.circuit.n_predicted else state.z[i]

    @property
    def code_size(self) -> int:
        """Units of the uppermost hidden populations, J_top."""
        return sum(self.sizes[i] for i in self.circuit.tops)

    @property
    def own_prior(self) -> Mixture:
        """The prior over the top that has learned with the synapses (`ncf.network.top_prior`)."""
        return self.prior.mixture  # type: ignore[union-attr]

    @property
    def likelihood(self) -> str | None:
        return self.circuit.populations[0].likelihood

    @property
    def fields(self) -> Tensor:
        """The receptive fields: what one unit of the population nearest to the image adds to the image's drive, (J_s, J_0)."""
        return self.parameters[self.circuit.into(0)[0].name]

    # --- what a checkpoint holds --------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Everything learned, by name: synapses, Sigma and Q (Q is older than Sigma's last norm limit, so both count), and a prior of the top."""
        label = {i: self.circuit.populations[i].label for i in self.sigma}
        covariances = {f"Sigma{label[i]}": sigma for i, sigma in self.sigma.items()}
        prior = self.prior.tensors() if self.prior else {}
        return {**self.parameters, **covariances, **{f"Q{label[i]}": q for i, q in self.q.items()}, **prior}

    @torch.no_grad()
    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        take_over(self.tensors(), tensors)


def lateral(f: Tensor, column: int, self_excitation: float, inhibition: float) -> Tensor:
    """Lateral competition in columns of neighbours: alpha_h * (sum of the column's other f) - alpha_e * f, (B, J_l).

    The dense matrix has -alpha_e on the diagonal and alpha_h within a column; its block structure makes a sum suffice.
    """
    groups = f.view(len(f), -1, column)
    total = groups.sum(-1, keepdim=True).mul_(inhibition)
    return torch.sub(total, groups, alpha=inhibition + self_excitation).view_as(f)
