"""How local updates change the synapses: torch's own optimizers, ascending, with the released placement of Adam's epsilon."""

from math import sqrt

import torch
from torch import Tensor

from ncf.config.schema import OptimizerConfig


class Optimizer:
    """Adds local updates (ascent directions) to parameters by Adam or by gradient ascent with momentum.

    Adam as released: theta += lr * sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon), t from 1, m and v from zero.
    torch divides sqrt(v) by sqrt(1 - beta2^t) before it adds its epsilon, so epsilon is divided by it as well, at each step.
    """

    def __init__(self, config: OptimizerConfig, parameters: dict[str, Tensor]):
        self.config = config
        self.parameters = parameters
        self.t = 0
        self.rule: torch.optim.Optimizer
        if config.name == "adam":
            self.rule = torch.optim.Adam(
                list(parameters.values()), lr=config.lr, betas=(config.beta1, config.beta2), eps=config.epsilon, maximize=True, fused=True
            )
        else:
            self.rule = torch.optim.SGD(list(parameters.values()), lr=config.lr, momentum=config.beta1, maximize=True)

    def slow_to(self, share: float) -> None:
        """Go on at this share of the learning rate."""
        self.rule.param_groups[0]["lr"] = share * self.config.lr

    def step(self, updates: dict[str, Tensor]) -> None:
        """theta <- theta + step for every update; `updates` has one ascent direction per parameter."""
        self.t += 1
        for name, parameter in self.parameters.items():
            parameter.grad = updates[name].contiguous()
        if self.config.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.config.clip)
        if self.config.name == "adam":
            self.rule.param_groups[0]["eps"] = self.config.epsilon / sqrt(1 - self.config.beta2**self.t)
        self.rule.step()

    def tensors(self) -> dict[str, Tensor]:
        """The moments by parameter and name, e.g. ``W1.exp_avg``."""
        return {
            f"{name}.{moment}": value
            for name, parameter in self.parameters.items()
            for moment, value in self.rule.state.get(parameter, {}).items()
            if torch.is_tensor(value)
        }

    def load(self, t: int, tensors: dict[str, Tensor]) -> None:
        """Go on after update number t with the moments that `tensors` returned."""
        self.t = t
        for name, parameter in self.parameters.items():
            moments = {key.split(".", 1)[1]: value for key, value in tensors.items() if key.split(".", 1)[0] == name}
            self.rule.state[parameter] = {
                moment: value.clone() if moment == "step" else value.to(parameter.device).clone() for moment, value in moments.items()
            }
