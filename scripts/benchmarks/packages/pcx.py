"""A training batch of GNCN-t1 in pcx: states are Vodes, their slopes those of an energy by automatic differentiation.

Prior and leak are terms of the energy, so that a step is that of ncf, e_0 = x - sigmoid(mu_0) included (it moves in the first step already,
which from ncf's rest moves nothing: K steps here are K + 1 there). Its users write the loop over the steps as a Python loop inside jit
(`unrolled`); `scanned` is the same step in pcx's own scan.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pcx.functional as pxf
import pcx.nn as pxnn
import pcx.predictive_coding as pxc
import pcx.utils as pxu

PACKAGE = "pcx"
DIFFERENCES = {
    "unrolled": "same settling, prior and leak included; slopes by automatic differentiation; no norm limit",
    "scanned": "same settling, prior and leak included; slopes by automatic differentiation; no norm limit",
}
SIZES = [360, 360, 360, 784]  # from the top to the image
BETA, GAMMA, PRIOR = 0.1, 0.001, 0.01


def hidden_energy(vode, rkg=None):
    z = vode.get("h")
    return pxc.se_energy(vode) + PRIOR * jnp.abs(z) + 0.5 * GAMMA * z * z


def top_energy(vode, rkg=None):
    z = vode.get("h")
    return PRIOR * jnp.abs(z) + 0.5 * GAMMA * z * z


def bernoulli_energy(vode, rkg=None):
    """- log p(x) of the logits: its slope is sigmoid(mu_0) - x."""
    return jax.nn.softplus(vode.get("u")) - vode.get("h") * vode.get("u")


class Network(pxc.EnergyModule):
    def __init__(self):
        super().__init__()
        at_rest = {"ruleset": {pxc.STATUS.INIT: ("h, u <- u:zero",)}, "tforms": {"zero": lambda vode, key, u, rkg: jnp.zeros_like(u)}}
        self.layers = [pxnn.Linear(source, target, bias=False) for source, target in zip(SIZES, SIZES[1:])]
        self.vodes = [pxc.Vode(top_energy, **at_rest), *(pxc.Vode(hidden_energy, **at_rest) for _ in SIZES[1:-1]), pxc.Vode(bernoulli_energy)]
        self.vodes[-1].h.frozen = True

    def __call__(self, x):
        z = self.vodes[0](jnp.zeros(SIZES[0]))
        for layer, vode in zip(self.layers, self.vodes[1:]):
            z = vode(layer(jnp.tanh(z)))
        self.vodes[-1].set("h", x)


over_the_batch = pxu.M(pxc.VodeParam | pxc.VodeParam.Cache).to((None, 0))


@pxf.vmap(over_the_batch, in_axes=0, out_axes=None)
def forward(x, *, model):
    model(x)


@pxf.vmap(over_the_batch, in_axes=0, out_axes=None, axis_name="batch")
def energy(x, *, model):
    model(x)
    return jax.lax.psum(model.energy(), "batch")


slopes_of_states = pxf.value_and_grad(pxu.M_hasnot(pxc.VodeParam, frozen=True).to((False, True)))(energy)
slopes_of_synapses = pxf.value_and_grad(pxu.M(pxnn.LayerParam).to((False, True)))(energy)


def step(x, *, model, optim_h):
    with pxu.step(model, clear_params=pxc.VodeParam.Cache):
        _, slopes = slopes_of_states(x, model=model)
    optim_h.step(model, slopes["model"])


def unrolled(x, steps, *, model, optim_h):
    for _ in range(steps):
        step(x, model=model, optim_h=optim_h)


def scanned(x, steps, *, model, optim_h):
    def one(_, x, *, model, optim_h):
        step(x, model=model, optim_h=optim_h)
        return (x,), None

    pxf.scan(one, xs=None, length=steps)(x, model=model, optim_h=optim_h)


def trainer(settle, batch, steps):
    model = Network()
    with pxu.step(model, pxc.STATUS.INIT, clear_params=pxc.VodeParam.Cache):
        forward(jnp.zeros((batch, SIZES[-1])), model=model)
    optim_h = pxu.Optim(lambda: optax.sgd(BETA))
    optim_w = pxu.Optim(lambda: optax.adam(0.001), pxu.M(pxnn.LayerParam)(model))

    @pxf.jit()
    def train_batch(x, *, model, optim_h, optim_w):
        with pxu.step(model, (pxc.STATUS.INIT, None), clear_params=pxc.VodeParam.Cache):
            forward(x, model=model)
        optim_h.init(pxu.M_hasnot(pxc.VodeParam, frozen=True)(model))
        settle(x, steps, model=model, optim_h=optim_h)
        optim_h.clear()
        with pxu.step(model, clear_params=pxc.VodeParam.Cache):
            _, slopes = slopes_of_synapses(x, model=model)
        optim_w.step(model, slopes["model"], scale_by=1 / batch)

    def train(images):
        train_batch(jnp.asarray(images), model=model, optim_h=optim_h, optim_w=optim_w)
        jax.block_until_ready([layer.nn.weight.get() for layer in model.layers])

    train.synapses = lambda: {f"W{l}": np.array(layer.nn.weight.get().T) for l, layer in enumerate(reversed(model.layers), start=1)}
    return train


def variants(batch, steps):
    return {"unrolled": trainer(unrolled, batch, steps), "scanned": trainer(scanned, batch, steps)}
