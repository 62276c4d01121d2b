"""A training batch of a network like GNCN-t1 in fabricpc: a graph of nodes, its own training step (a fori_loop over the inference steps).

A node applies its activation to its own weighted input, so that mu_l = tanh(f_{l+1} W_{l+1}) with f = z, where GNCN-t1 has mu_l = tanh(z_{l+1})
W_{l+1}: the products are the same, and as many tanh. Its users take it so, and decay and Bernoulli energy as they come.
"""

import jax
import jax.numpy as jnp
import optax
from fabricpc import setup_jax
from fabricpc.core.activations import SigmoidActivation, TanhActivation
from fabricpc.core.energy import BernoulliEnergy
from fabricpc.core.inference import InferenceSGD
from fabricpc.core.initializers import NormalInitializer
from fabricpc.core.topology import Edge
from fabricpc.graph_assembly import TaskMap, graph
from fabricpc.graph_initialization import initialize_params
from fabricpc.graph_initialization.state_initializer import NodeDistributionStateInit
from fabricpc.nodes import IdentityNode, Linear
from fabricpc.training import make_train_step

PACKAGE = "fabricpc"
DIFFERENCES = {"fori": "predictions tanh(z W) for tanh(z) W; states start at N(0, 0.05^2); leak included; no prior, no norm limit"}


def variants(batch, steps):
    setup_jax()
    weights = {"use_bias": False, "weight_init": NormalInitializer(std=0.05)}
    z3 = IdentityNode(shape=(360,), name="z3")
    z2 = Linear(shape=(360,), name="z2", activation=TanhActivation(), **weights)
    z1 = Linear(shape=(360,), name="z1", activation=TanhActivation(), **weights)
    x = Linear(shape=(784,), name="x", activation=SigmoidActivation(), energy=BernoulliEnergy(), **weights)
    structure = graph(
        nodes=[z3, z2, z1, x],
        edges=[Edge(source=above, target=below.slot("in")) for above, below in ((z3, z2), (z2, z1), (z1, x))],
        task_map=TaskMap(y=x),
        inference=InferenceSGD(eta_infer=0.1, infer_steps=steps, latent_decay=0.001),
        graph_state_initializer=NodeDistributionStateInit(),
    )
    key = jax.random.PRNGKey(0)
    optimizer = optax.adam(0.001)
    step = make_train_step(structure, optimizer)
    trained = {"params": initialize_params(structure, key)}
    trained["opt"] = optimizer.init(trained["params"])

    def train(images):
        trained["params"], trained["opt"], *_ = step(trained["params"], trained["opt"], {"y": jnp.asarray(images)}, key)
        jax.block_until_ready(trained["params"])

    return {"fori": train}
