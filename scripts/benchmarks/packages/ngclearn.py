"""A training batch of GNCN-t1 in ngclearn: a circuit of rate cells, error cells and synapses, compiled to one process per step.

The feedback synapses E hold W transposed, set anew after every update. `scanned` runs the steps in the process's own scan, as its exhibits
do; `stepped` calls the compiled step K times. A cell has one prior, and the Laplace prior leaves no place for the leak; without it the
states after K steps are ncf's.
"""

import jax
import jax.numpy as jnp
import numpy as np
from ngclearn import Context, MethodProcess
from ngclearn.components import BernoulliErrorCell, GaussianErrorCell, HebbianSynapse, RateCell, StaticSynapse
from ngclearn.utils import DistributionGenerator
from ngcsimlib.global_state import stateManager

PACKAGE = "ngclearn"
DIFFERENCES = {
    "scanned": "same settling, prior included; no leak, no norm limit; errors clip probabilities to 0.0001",
    "stepped": "same settling, prior included; no leak, no norm limit; errors clip probabilities to 0.0001",
}
SIZES = [784, 360, 360, 360]
TAU, PRIOR = 10.0, 0.01  # dt / tau is the step size 0.1


class Circuit:
    def __init__(self, batch):
        keys = iter(jax.random.split(jax.random.PRNGKey(0), 16))
        layers = (1, 2, 3)
        init = DistributionGenerator.gaussian(0.0, 0.05)
        with Context("gncn_t1"):
            self.e = {0: BernoulliErrorCell("e0", n_units=SIZES[0], batch_size=batch, input_logits=True)}
            self.e |= {l: GaussianErrorCell(f"e{l}", n_units=SIZES[l], batch_size=batch) for l in (1, 2)}
            self.z, self.W, self.E = {}, {}, {}
            for l in layers:
                cell = {"tau_m": TAU, "act_fx": "tanh", "prior": ("laplacian", PRIOR), "integration_type": "euler", "batch_size": batch}
                learned = {"eta": 0.001, "optim_type": "adam", "sign_value": -1.0, "w_bound": 0.0, "weight_init": init, "batch_size": batch}
                self.z[l] = RateCell(f"z{l}", n_units=SIZES[l], key=next(keys), **cell)
                self.W[l] = HebbianSynapse(f"W{l}", shape=(SIZES[l], SIZES[l - 1]), pre_wght=1 / batch, key=next(keys), **learned)
                self.E[l] = StaticSynapse(f"E{l}", shape=(SIZES[l - 1], SIZES[l]), weight_init=init, batch_size=batch, key=next(keys))
            for l in layers:
                error = self.e[l - 1].dmu if l > 1 else self.e[0].dp
                self.z[l].zF >> self.W[l].inputs
                self.W[l].outputs >> (self.e[l - 1].mu if l > 1 else self.e[0].p)
                error >> self.E[l].inputs
                self.E[l].outputs >> self.z[l].j
                self.z[l].zF >> self.W[l].pre
                error >> self.W[l].post
                if l < 3:
                    self.z[l].z >> self.e[l].target
                    self.e[l].dtarget >> self.z[l].j_td
            self.reset, self.advance, self.evolve = MethodProcess("reset"), MethodProcess("advance"), MethodProcess("evolve")
            for cell in (*self.z.values(), *self.e.values()):
                self.reset >> cell.reset
            for part in (*self.E.values(), *self.z.values(), *self.W.values(), *self.e.values()):
                self.advance >> part.advance_state
            for synapse in self.W.values():
                self.evolve >> synapse.evolve
        self.tie()

    def tie(self):
        for l, synapse in self.W.items():
            self.E[l].weights.set(synapse.weights.get().T)

    def train(self, images, settle):
        self.reset.run()
        self.e[0].target.set(jnp.asarray(images))
        settle()
        self.evolve.run(dt=1.0)
        self.tie()
        jax.block_until_ready([synapse.weights.get() for synapse in (*self.W.values(), *self.E.values())])


def variants(batch, steps):
    circuit = Circuit(batch)
    rows = jnp.asarray(circuit.advance.pack_rows(steps, dt=1.0))

    def scanned():
        stateManager.state, _ = circuit.advance.scan(rows)

    def stepped():
        for _ in range(steps):
            circuit.advance.run(dt=1.0)

    def trainer(settle):
        def train(images):
            circuit.train(images, settle)

        train.synapses = lambda: {f"W{l}": np.array(synapse.weights.get()) for l, synapse in circuit.W.items()}
        return train

    return {"scanned": trainer(scanned), "stepped": trainer(stepped)}
