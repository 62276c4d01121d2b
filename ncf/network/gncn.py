"""The generative neural coding network: one class for the whole family, equations in the paper's order.

Source: Ororbia and Kifer, "The neural coding framework for learning generative models", Nature Communications 13:2064
(2022). Rows are samples; layer 0 is the image, layers 1..L are hidden. Symbols (shapes):

    z_l, f_l = phi(z_l)   state and activity of layer l                          (B, J_l)
    mu_l, r_l, e_l        prediction of layer l, its residual, its error neurons (B, J_l)
    W_l                   generative synapses, layer l to l-1                    (J_l, J_{l-1})
    M_l                   generative skips, layer l to l-2, l >= 2               (J_l, J_{l-2})
    E_l                   error synapses, e_{l-1} to z_l                         (J_{l-1}, J_l)
    Sigma_l, Q_l          covariance of layer l given its prediction, and the matrix e_l = r_l Q_l
    beta, gamma, K        step size, leak, settling steps

A batch's way: `settle` returns a `State`; `local_updates` turns a state into one matrix per bundle of synapses; an optimizer
adds them; `adapt_precision` and `limit_norms` close the step. Autograd is off in all of it.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ncf.config.checks import columns_per_layer
from ncf.config.schema import GNCNConfig
from ncf.network import cuda_graph, settling, solvers
from ncf.network.activations import ACTIVATIONS
from ncf.network.priors import PRIOR_SLOPES
from ncf.network.state import State, at_rest

JITTER = 0.00025  # whitened precision: added to every entry of Sigma at each precision step (released)


class GNCN:
    """One network: its configuration, its synapses (`parameters`) and its precision matrices."""

    def __init__(self, config: GNCNConfig, n_pixels: int, rng: np.random.Generator, device: str | torch.device = "cpu"):
        self.config = config
        self.sizes = [n_pixels, *config.layers]  # J_0 .. J_L
        self.depth = len(config.layers)  # L
        self.columns = [0, *columns_per_layer(config)] if config.lateral.enabled else None
        self.phi = ACTIVATIONS[config.activation]
        self.g = ACTIVATIONS[config.prediction]
        self.g0 = ACTIVATIONS["sigmoid" if config.likelihood == "bernoulli" else "identity"]
        self.hidden_predicted = range(1, self.depth)  # the layers that have a prediction, and may have precision
        self.product_dtype: torch.dtype | None = None  # of settling's products; None: that of the images
        self.recordings: dict = {}  # of settling, by shape (ncf.network.cuda_graph)
        self.parameters: dict[str, Tensor] = {}
        self.sigma: dict[int, Tensor] = {}
        self.q: dict[int, Tensor] = {}
        self.draw_synapses(rng, torch.device(device))
        self.adapt_precision()
        self.adapt_precision()  # once at construction and once with the first norm limit (released)
        self.limit_norms()

    def draw_synapses(self, rng: np.random.Generator, device: torch.device) -> None:
        """W, M, E ~ N(0, init_sd^2); whitened Sigma = I + U(-0.01, 0.01) off the diagonal; published Sigma = I."""
        J = self.sizes

        def normal(*shape: int) -> Tensor:
            draw = rng.standard_normal(shape, dtype=np.float32)
            return torch.from_numpy(self.config.init_sd * draw).float().to(device)

        for l in range(1, self.depth + 1):
            self.parameters[f"W{l}"] = normal(J[l], J[l - 1])
        if self.config.skips:
            for l in range(2, self.depth + 1):
                self.parameters[f"M{l}"] = normal(J[l], J[l - 2])
        if self.config.error_synapses == "learned":
            for l in range(1, self.depth + 1):
                self.parameters[f"E{l}"] = normal(J[l - 1], J[l])
        if self.config.precision.kind != "none":
            for l in self.hidden_predicted:
                sigma = torch.eye(J[l])
                if self.config.precision.kind == "whitened":
                    noise = torch.from_numpy(rng.uniform(-0.01, 0.01, (J[l], J[l])).astype(np.float32))
                    sigma += noise.fill_diagonal_(0)
                    self.parameters[f"Sigma{l}"] = sigma.to(device)
                self.sigma[l] = self.parameters.get(f"Sigma{l}", sigma.to(device))

    # --- settling (inference) -----------------------------------------------------------------------------------------

    @torch.no_grad()
    def settle(self, x: Tensor, observed: Tensor | None = None, steps: int | None = None) -> State:
        """The state after K steps on images x (B, J_0), from rest: `settle_plainly` at the speed of its matrix products.

        Pixels with ``observed == 0`` carry no error (masked settling); their prediction is the completion.
        """
        steps = self.config.settle.steps if steps is None else steps
        if x.device.type == "cpu":
            return settling.settle(self, x, observed, steps, self.product_dtype or x.dtype)
        with torch.autocast(x.device.type, self.product_dtype, enabled=self.product_dtype is not None, cache_enabled=False):
            return cuda_graph.settle(self, x, observed, steps)

    @torch.no_grad()
    def settle_plainly(self, x: Tensor, observed: Tensor | None = None, steps: int | None = None) -> State:
        """The same by the equations as they stand below, which `ncf.network.settling` is held to."""
        state, before = self.rest(x, observed), None
        tolerance = self.config.settle.tolerance
        for _ in self.trajectory(state, steps):
            if tolerance:
                now = torch.cat(state.z[1:], dim=1)
                state.moving = not (state.steps > self.depth and at_rest(before, now, tolerance))
                if not state.moving:
                    break
                before = now
        return state

    @torch.no_grad()
    def trajectory(self, state: State, steps: int | None = None) -> Iterator[State]:
        """From a state at rest, that state after each of the steps 1..K, changed in place."""
        for beta, momentum in solvers.schedule(self.config.settle, self.config.settle.steps if steps is None else steps):
            self.move(state, beta, momentum)
            self.predict(state)
            self.compare(state)
            state.steps += 1
            yield state

    def rest(self, x: Tensor, observed: Tensor | None = None) -> State:
        """Before the first step: all states, activities, predictions and errors are zero, e_0 with them."""
        zeros = [torch.zeros(len(x), size, device=x.device, dtype=x.dtype) for size in self.sizes]
        z = [x, *(zero.clone() for zero in zeros[1:])]
        f = [x, *(zero.clone() for zero in zeros[1:])]
        mu = [zero.clone() for zero in zeros[:-1]]
        r = zeros[:-1]
        e = [r_l.clone() if l in self.q else r_l for l, r_l in enumerate(r)]
        v = None if self.config.settle.solver == "euler" else [zero.clone() for zero in z]
        return State(z, f, mu, r, e, observed, v)

    def move(self, state: State, beta: float, momentum: float = 0.0) -> None:
        """A. States: z_l += beta ( feedback_l [* phi'(z_l)] - [e_l] - [lateral_l] - gamma z_l - [prior_l] ), f_l = phi(z_l).

        beta and m are those of this step (`ncf.network.solvers`); with m, v_l <- m v_l + beta (...), z_l += v_l.
        """
        gamma = self.config.settle.gamma
        for l in range(1, self.depth + 1):
            z, f = state.z[l], state.f[l]
            d = (state.e[l - 1] @ self.feedback(l)).to(z.dtype)  # (B, J_l)
            if self.config.derivative:
                d.mul_(self.phi.slope(z, f))
            if l < self.depth:
                d.sub_(state.e[l])
            if self.columns:
                d.sub_(lateral(f, self.columns[l], self.config.lateral.self_excitation, self.config.lateral.inhibition))
            if self.config.prior.kind != "none":
                d.sub_(PRIOR_SLOPES[self.config.prior.kind](z, out=torch.empty_like(z)), alpha=self.config.prior.strength)
            d.sub_(z, alpha=gamma)
            if state.v is None:
                z.add_(d, alpha=beta)
            else:
                z.add_(state.v[l].mul_(momentum).add_(d, alpha=beta))
            self.phi.value(z, out=f)

    def feedback(self, l: int) -> Tensor:
        """The synapses that bring e_{l-1} to z_l: E_l if learned, else W_l^T, (J_{l-1}, J_l)."""
        return self.parameters[f"E{l}"] if self.config.error_synapses == "learned" else self.parameters[f"W{l}"].T

    def predict(self, state: State) -> None:
        """B. Predictions: mu_l = g_l( f_{l+1} W_{l+1} + [f_{l+2} M_{l+2}] )."""
        for l in range(self.depth):
            self.predict_layer(l, state.f, out=state.mu[l])

    def predict_layer(self, l: int, f: list[Tensor], out: Tensor) -> Tensor:
        out.copy_(f[l + 1] @ self.parameters[f"W{l + 1}"])
        if self.config.skips and l + 2 <= self.depth:
            out.add_(f[l + 2] @ self.parameters[f"M{l + 2}"])
        return (self.g if l else self.g0).value(out, out=out)

    def compare(self, state: State) -> None:
        """C. Errors: r_l = target_l - mu_l, and e_l = r_l [Q_l].

        Layer 0: e_0 = x - mu_0 for both likelihoods. For gaussian (unit variance) it is the gradient of the log likelihood at
        mu_0, for bernoulli the one at the logits (the published x/mu_0 - (1-x)/(1-mu_0) is that before the sigmoid's slope).
        """
        for l in range(self.depth):
            target = state.f[l] if self.config.target == "activity" else state.z[l]
            torch.sub(target, state.mu[l], out=state.r[l])
            if l == 0 and state.observed is not None:
                state.r[0].mul_(state.observed)
            if l in self.q:
                state.e[l].copy_(state.r[l] @ self.q[l])

    # --- learning -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def local_updates(self, state: State, y: Tensor | None = None, rng: np.random.Generator | None = None) -> dict[str, Tensor]:
        """One ascent direction per bundle of synapses, averaged over the batch (section 5); classes and noise play no part.

        dW_l = f_l^T e_{l-1} / B,  dM_l = f_l^T e_{l-2} / B,  dE_l = dW_l^T times `error_rate`,
        dSigma_l = ( e_l^T e_l - Q_l ) / (2B) for whitened precision. For published precision Sigma_l comes with S_l = r_l^T r_l / B,
        which no optimizer adds: `adapt_precision` takes it.
        """
        rows = len(state.z[0])
        batch = state.batch or rows
        updates = {}
        for l in range(1, self.depth + 1):
            updates[f"W{l}"] = (state.f[l].T @ state.e[l - 1]).div_(batch)
            if f"M{l}" in self.parameters:
                updates[f"M{l}"] = (state.f[l].T @ state.e[l - 2]).div_(batch)
            if f"E{l}" in self.parameters:
                updates[f"E{l}"] = updates[f"W{l}"].T * self.config.error_rate
            if f"Sigma{l}" in self.parameters:
                updates[f"Sigma{l}"] = (state.e[l].T @ state.e[l]).sub_(self.q[l], alpha=rows / batch).div_(2 * batch)
            elif l in self.sigma:
                updates[f"Sigma{l}"] = (state.r[l].T @ state.r[l]).div_(batch)
        return updates

    @torch.no_grad()
    def adapt_precision(self, updates: dict[str, Tensor] | None = None) -> None:
        """New Q_l for the next batch; for published precision Sigma_l learns here, from the S_l among the batch's updates."""
        rule = self.config.precision
        for l, sigma in self.sigma.items():
            if rule.kind == "whitened":
                prepare_covariance(sigma)
            elif updates is not None:
                move_covariance(sigma, updates[f"Sigma{l}"], rule.rate, rule.shrinkage, rule.floor)
            factor = torch.linalg.cholesky(sigma)
            q = whitening(factor) if rule.kind == "whitened" else torch.cholesky_inverse(factor)
            self.q[l] = self.q[l].copy_(q) if l in self.q else q  # in its place: recordings of settling read it there

    @torch.no_grad()
    def limit_norms(self) -> None:
        """Every column (axis 0: all synapses into one destination unit) scaled to the radius: if above (limit) or always (unit).

        Whitened Sigma is limited to 1 whatever is chosen for the synapses: without that its precision step lets it grow for ever.
        """
        chosen = self.config.constraint
        for name, synapses in self.parameters.items():
            kind, radius = ("limit", 1.0) if name.startswith("Sigma") else (chosen.kind, chosen.radius)
            if kind == "none":
                continue
            norms = torch.linalg.vector_norm(synapses, dim=0)
            scale = radius / norms.clamp_(min=1e-12)
            synapses.mul_(scale.clamp_(max=1.0) if kind == "limit" else scale)

    # --- generation ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def project(self, f_top: Tensor) -> Tensor:
        """Ancestral projection (section 7): images mu_0 (S, J_0) from activities f_L (S, J_L), without noise.

        The argument is an activity: phi is not applied to it again.
        """
        return self.g0.value(self.drive(f_top), out=None)

    def drive(self, f_top: Tensor) -> Tensor:
        """What stands before g_0 in the projection: f_l = phi( f_{l+1} W_{l+1} + [f_{l+2} M_{l+2}] ) for l = L-1 .. 1, then the same
        sum for l = 0, (S, J_0). Autograd may pass through it: estimates of log p(x) follow its slope."""
        f: list[Tensor | None] = [None] * self.depth + [f_top]
        for l in range(self.depth - 1, -1, -1):
            drive = f[l + 1] @ self.parameters[f"W{l + 1}"]
            if self.config.skips and l + 2 <= self.depth:
                drive = drive.addmm(f[l + 2], self.parameters[f"M{l + 2}"])
            f[l] = self.phi.value(drive, out=None) if l else drive
        return f[0]

    @property
    def likelihood(self) -> str:
        return self.config.likelihood

    # --- what a checkpoint holds --------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Everything learned, by name: synapses, Sigma_l and Q_l (Q is older than Sigma's last norm limit, so both count)."""
        covariances = {f"Sigma{l}": sigma for l, sigma in self.sigma.items()}
        return {**self.parameters, **covariances, **{f"Q{l}": q for l, q in self.q.items()}}

    @torch.no_grad()
    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `tensors` returned. Names and shapes must be the same: ValueError otherwise."""
        own = self.tensors()
        if set(own) != set(tensors):
            raise ValueError(f"holds {', '.join(sorted(tensors))} but the network has {', '.join(sorted(own))}")
        for name, tensor in own.items():
            if tensor.shape != tensors[name].shape:
                raise ValueError(f"{name} has shape {tuple(tensors[name].shape)} but the network has {tuple(tensor.shape)}")
            tensor.copy_(tensors[name])


def lateral(f: Tensor, column: int, self_excitation: float, inhibition: float) -> Tensor:
    """Lateral competition in columns of neighbours: alpha_h * (sum of the column's other f) - alpha_e * f, (B, J_l).

    The dense matrix has -alpha_e on the diagonal and alpha_h within a column; its block structure makes a sum suffice.
    """
    groups = f.view(len(f), -1, column)
    total = groups.sum(-1, keepdim=True).mul_(inhibition)
    return torch.sub(total, groups, alpha=inhibition + self_excitation).view_as(f)


def prepare_covariance(sigma: Tensor) -> None:
    """Whitened precision (section 6), before it is factorised: Sigma's diagonal raised to at least 1, JITTER added to every entry."""
    sigma.diagonal().clamp_(min=1.0)
    sigma.add_(JITTER)


def whitening(factor: Tensor) -> Tensor:
    """Q = (R^-1)^T with R the Cholesky factor of Sigma's lower triangle, (J_l, J_l): |r Q|^2 = r^T Sigma^-1 r."""
    eye = torch.eye(len(factor), device=factor.device, dtype=factor.dtype)
    return torch.linalg.solve_triangular(factor, eye, upper=False).T.contiguous()


def move_covariance(sigma: Tensor, outer: Tensor, rate: float, shrinkage: float, floor: float) -> None:
    """Published precision (section 6): Sigma <- (1 - rate) Sigma + rate * S, S (J_l, J_l) the batch's mean outer product of r.

    S - Sigma is the natural gradient (times two) of the Gaussian log likelihood of r, local to the pair of units. S is shrunk toward
    its diagonal, which is kept at least at `floor`, so that no eigenvalue of it falls below shrinkage * floor: a convex mixture of
    positive definite matrices stays so.
    """
    variances = outer.diagonal()
    outer = outer * (1 - shrinkage)
    outer.diagonal().copy_(variances + (floor - variances).clamp_(min=0))
    sigma.lerp_(outer, rate)
