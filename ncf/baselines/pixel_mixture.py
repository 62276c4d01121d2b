"""The pixel mixture of the comparison: diagonal Gaussians, fitted by gradient ascent on the log likelihood."""

import numpy as np
import torch
from torch import Tensor

from ncf.baselines.backprop import Backpropagated
from ncf.config.schema import PixelMixtureConfig
from ncf.network.likelihoods import CLIP
from ncf.network.state import State


class PixelMixture(Backpropagated):
    """A Gaussian mixture on pixels v, sum over c of weights_c prod_j N(v_j; means_cj, spreads_cj^2), seen as pixels x in {0, 1}.

    The pixel clipped to [0, 1] is the chance of x_j = 1, as a decoder's mu_0 is. With independent pixels that chance, on average
    over a component, is q_cj = E[clip(v_j)], so that p(x) = sum over c of weights_c prod_j q_cj^x_j (1 - q_cj)^(1 - x_j): exact. A
    component stands for the top activities: f_L are the responsibilities p(c | x), and their expected image is mu_0; the means are
    the synapses W_1 from a component to the image.
    """

    likelihood = "bernoulli"
    names = ["image", "components"]
    abilities = frozenset({"project", "own_prior", "exact_log_p"})

    def __init__(self, config: PixelMixtureConfig, images: Tensor, rng: np.random.Generator, device: str | torch.device = "cpu"):
        """Means from the mean of the training images (N, J_0) with a third of a random one's difference to it; spreads 0.4; equal weights."""
        self.config, self.code_size = config, config.components
        x = images.to(device)
        rows = torch.from_numpy(rng.choice(len(x), size=config.components, replace=config.components > len(x))).to(x.device)
        self.parameters = {
            "logits": torch.zeros(config.components, device=x.device),
            "W1": torch.lerp(x.mean(0), x[rows], 1 / 3),
            "spreads": torch.full((config.components, x.shape[1]), 0.4, device=x.device),
        }

    def fits(self, x: Tensor, P: dict[str, Tensor], observed: Tensor | None = None) -> Tensor:
        """ln( weights_c N(x; means_c, spreads_c^2) ) without its constant, over the observed pixels, (B, C)."""
        variance = P["spreads"].square() + self.config.floor
        seen = torch.ones_like(x) if observed is None else observed.expand_as(x)
        distances = (seen * x.square()) @ (1 / variance).T - 2 * (seen * x) @ (P["W1"] / variance).T + seen @ (P["W1"].square() / variance).T
        return P["logits"].log_softmax(0) - (distances + seen @ variance.log().T) / 2

    def chances(self) -> Tensor:
        """q = E[clip(v)] = m Phi(m / s) + s phi(m / s) less the same of m - 1, kept within [CLIP, 1 - CLIP], (C, J_0)."""
        m, s = self.parameters["W1"], (self.parameters["spreads"].square() + self.config.floor).sqrt()
        normal = torch.distributions.Normal(torch.zeros_like(m), torch.ones_like(m))

        def rectified(mean: Tensor) -> Tensor:
            return mean * normal.cdf(mean / s) + s * normal.log_prob(mean / s).exp()

        return (rectified(m) - rectified(m - 1)).clamp(CLIP, 1 - CLIP)

    def drive(self, f_top: Tensor) -> Tensor:
        return torch.logit(f_top @ self.chances())

    @torch.no_grad()
    def project(self, f_top: Tensor) -> Tensor:
        """Expected images (S, J_0) of weights over the components f_L (S, C)."""
        return f_top @ self.chances()

    @property
    def own_prior(self) -> "Choice":
        return Choice(self.parameters["logits"].softmax(0))

    @torch.no_grad()
    def exact_log_p(self, x: Tensor) -> Tensor:
        """log p(x), (N,)."""
        q = self.chances()
        return (self.parameters["logits"].log_softmax(0) + x @ (q.log() - (1 - q).log()).T + (1 - q).log().sum(1)).logsumexp(1)

    # --- the loop's protocol --------------------------------------------------------------------------------------------

    @torch.no_grad()
    def settle(self, x: Tensor, observed: Tensor | None = None, steps: int | None = None, y: Tensor | None = None) -> State:
        """Responsibilities from the observed pixels, and the image expected from them."""
        f_top = self.fits(x, self.parameters, observed).softmax(1)
        mu = self.project(f_top)
        r = x - mu if observed is None else (x - mu) * observed
        return State([x, f_top], [x, f_top], [mu], [r], [r])

    def local_updates(self, state: State, y: Tensor | None, rng: np.random.Generator) -> dict[str, Tensor]:
        return self.gradient(lambda P: self.fits(state.z[0], P).logsumexp(1).mean())


class Choice:
    """The prior of a mixture's components: one of them at a time, as rows with a single 1."""

    def __init__(self, weights: Tensor):
        self.weights = weights

    def sample(self, n: int, rng: np.random.Generator) -> Tensor:
        weights = self.weights.double().cpu().numpy()
        drawn = torch.from_numpy(rng.choice(len(weights), size=n, p=weights / weights.sum())).to(self.weights.device)
        return torch.eye(len(weights), device=self.weights.device)[drawn]
