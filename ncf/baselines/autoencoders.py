"""The autoencoders of the comparison, trained by backpropagation: RAE, GVAE, GVAE-CV and GAN-AE.

Layers are named as in the networks: 0 is the image, L the latents, relu between.

    decoder   f_l = relu( f_{l+1} W_{l+1} + b_l ), l = L-1 .. 1;  mu_0 = sigmoid( f_1 W_1 + b_0 )      W_l (J_l, J_{l-1})
    encoder   h_l = relu( h_{l-1} E_l + c_l ), h_0 = x;  the latents are h_{L-1} E_L + c_L             E_l (J_{l-1}, J_l)

They keep the protocol of the loop (ncf/network/model.py): `settle` encodes and decodes, `local_updates` gives the gradient, uphill.
"""

from collections.abc import Callable
from math import log

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from ncf.baselines.backprop import Backpropagated, noise_like
from ncf.config.schema import AutoencoderConfig
from ncf.network.mixture import Mixture
from ncf.network.state import State

Completion = Callable[[Tensor, Tensor], Tensor]  # images (B, J_0) and which pixels are seen (J_0,) -> mu_0 (B, J_0)


class Autoencoder(Backpropagated):
    """One autoencoder; what its latents are, and what it is taught beside the image, is `config.code`.

    plain (RAE): a point. gaussian (GVAE): a normal distribution, mean and variance from the encoder. constant (GVAE-CV): its variance
    the same for all. adversarial (GAN-AE): a point, and an adversary that tells latents of images from draws of N(0, I) is to be
    deceived. All may pay an L2 penalty on the synapses of encoder and decoder.
    """

    likelihood = "bernoulli"

    def __init__(self, config: AutoencoderConfig, n_pixels: int, rng: np.random.Generator, device: str | torch.device = "cpu"):
        self.config = config
        self.sizes = [n_pixels, *config.layers]  # J_0 .. J_L
        self.depth = len(config.layers)  # L
        self.code_size = config.layers[-1]
        self.names = ["image", *(f"f{l}" for l in range(1, self.depth)), "latents"]
        own = {"plain": set(), "gaussian": {"own_prior", "posterior"}, "constant": {"own_prior", "posterior"}, "adversarial": {"own_prior"}}
        self.abilities = frozenset({"project", "complete", "infer"} | own[config.code] | ({"hidden"} if self.depth > 1 else set()))
        self.device = torch.device(device)
        self.parameters: dict[str, Tensor] = {}
        J, L = self.sizes, self.depth
        for l in range(1, L + 1):
            self.draw_bundle(f"W{l}", f"b{l - 1}", J[l], J[l - 1], rng, device)
            self.draw_bundle(f"E{l}", f"c{l}", J[l - 1], 2 * J[l] if l == L and config.code == "gaussian" else J[l], rng, device)
        if config.code == "adversarial":
            for l, (below, above) in enumerate(((J[L], config.adversary), (config.adversary, config.adversary), (config.adversary, 1)), start=1):
                self.draw_bundle(f"A{l}", f"a{l}", below, above, rng, device)

    # --- encoder, decoder -----------------------------------------------------------------------------------------------

    def encode(self, x: Tensor, P: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Mean of the latents (B, J_L), and the log of their variance where they are a distribution."""
        h = self.climb(x, P)
        code = h @ P[f"E{self.depth}"] + P[f"c{self.depth}"]
        if self.config.code == "gaussian":
            return code.chunk(2, dim=1)
        return code, torch.full_like(code, log(self.config.variance)) if self.config.code == "constant" else None

    def climb(self, x: Tensor, P: dict[str, Tensor]) -> Tensor:
        """The encoder's uppermost hidden layer h_{L-1}, (B, J_{L-1})."""
        h = x
        for l in range(1, self.depth):
            h = torch.relu(h @ P[f"E{l}"] + P[f"c{l}"])
        return h

    @torch.no_grad()
    def hidden(self, x: Tensor) -> Tensor:
        """The same: what a regression may read in place of the latents."""
        return self.climb(x, self.parameters)

    def decode(self, f_top: Tensor, P: dict[str, Tensor]) -> Tensor:
        """What stands before the sigmoid of mu_0, (B, J_0)."""
        f = f_top
        for l in range(self.depth, 1, -1):
            f = torch.relu(f @ P[f"W{l}"] + P[f"b{l - 1}"])
        return f @ P["W1"] + P["b0"]

    def drive(self, f_top: Tensor) -> Tensor:
        return self.decode(f_top, self.parameters)

    @torch.no_grad()
    def project(self, f_top: Tensor) -> Tensor:
        """Images mu_0 (S, J_0) from latents f_L (S, J_L)."""
        return self.drive(f_top).sigmoid()

    @property
    def own_prior(self) -> Mixture:
        """N(0, I), where the latents are taught to follow it."""
        return Mixture.standard(self.sizes[-1], self.device)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and log variance of q(f_L | x), both (B, J_L), where the encoder gives a distribution."""
        return self.encode(x, self.parameters)

    # --- the loop's protocol --------------------------------------------------------------------------------------------

    @property
    def completions(self) -> dict[str, tuple[Completion, int]]:
        """Ways to complete an image, of which validation chooses, each with its multiply-adds per image."""
        decoder = sum(above * below for below, above in zip(self.sizes, self.sizes[1:]))
        encoder = sum(tensor.numel() for name, tensor in self.parameters.items() if name[0] == "E")
        refills, steps = self.config.refills, self.config.inference_steps
        return {
            "zero filling": (self.refilled, encoder + decoder),
            f"{refills} refills": (lambda x, observed: self.refilled(x, observed, refills), (refills + 1) * (encoder + decoder)),
            f"{steps} inference steps": (lambda x, observed: self.project(self.inferred(x, observed)), encoder + (2 * steps + 1) * decoder),
        }

    def refilled(self, x: Tensor, observed: Tensor, times: int = 0) -> Tensor:
        """mu_0 (B, J_0) of images whose unseen pixels (observed == 0) are zero at first, then filled with mu_0 so often."""
        mu = self.settle(x * observed).mu[0]
        for _ in range(times):
            mu = self.settle(torch.where(observed > 0, x, mu)).mu[0]
        return mu

    def inferred(self, x: Tensor, observed: Tensor) -> Tensor:
        """Latents f_L (B, J_L) for the seen pixels: Adam on log p(x_seen | f_L) + log p(f_L), the prior N(0, I) where the model has it.

        It starts from what the encoder makes of the image with its unseen pixels zero: the same means that a network has in settling.
        """
        start = self.encode(x * observed, self.parameters)[0]
        with torch.enable_grad():
            latents = start.detach().clone().requires_grad_()
            adam = torch.optim.Adam([latents], lr=self.config.inference_rate, maximize=True)
            for _ in range(self.config.inference_steps):
                drive = self.drive(latents)
                slope = (x - drive.detach().sigmoid()) * observed  # of log p(x_seen | f_L) by what stands before the sigmoid
                (rise,) = torch.autograd.grad(drive, latents, slope)
                latents.grad = rise - latents.detach() if "own_prior" in self.abilities else rise
                adam.step()
        return latents.detach()

    @torch.no_grad()
    def settle(self, x: Tensor, observed: Tensor | None = None, steps: int | None = None, y: Tensor | None = None) -> State:
        """The image decoded from its mean latents; unseen pixels (observed == 0) are zero."""
        latents = self.encode(x if observed is None else x * observed, self.parameters)[0]
        mu = self.project(latents)
        r = x - mu if observed is None else (x - mu) * observed
        return State([x, latents], [x, latents], [mu], [r], [r])

    def local_updates(self, state: State, y: Tensor | None, rng: np.random.Generator) -> dict[str, Tensor]:
        """The gradient of the objective, a mean over the batch, with respect to every parameter; `rng` draws the latents' noise."""
        return self.gradient(lambda P: self.objective(state.z[0], P, rng))

    def objective(self, x: Tensor, P: dict[str, Tensor], rng: np.random.Generator) -> Tensor:
        """What is to rise: log p(x | f_L) minus the L2 penalty, and by `code` minus the divergence or plus the deception."""
        mean, log_variance = self.encode(x, P)
        latents = mean if log_variance is None else mean + (log_variance / 2).exp() * noise_like(mean, rng)
        total = -binary_cross_entropy_with_logits(self.decode(latents, P), x, reduction="sum") / len(x)
        if log_variance is not None:
            total = total - self.config.divergence * divergence(mean, log_variance).mean()
        if self.config.l2:
            total = total - self.config.l2 * sum(w.square().sum() for name, w in P.items() if name[0] in "WE")
        if self.config.code == "adversarial":
            fixed = {name: value.detach() for name, value in P.items()}
            deceived = logsigmoid(self.judge(latents, fixed)).mean()  # teaches the encoder
            told = logsigmoid(self.judge(noise_like(mean, rng), P)).mean() + logsigmoid(-self.judge(latents.detach(), P)).mean()
            total = total + self.config.deception * deceived + told  # `told` teaches the adversary alone
        return total

    def judge(self, latents: Tensor, P: dict[str, Tensor]) -> Tensor:
        """The adversary's log odds that latents were drawn from N(0, I), (B, 1)."""
        h = torch.relu(latents @ P["A1"] + P["a1"])
        return torch.relu(h @ P["A2"] + P["a2"]) @ P["A3"] + P["a3"]


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL( N(mean, variance) || N(0, I) ) = sum of (mean^2 + variance - 1 - ln variance) / 2, (B,)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
