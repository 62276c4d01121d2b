"""A training batch of a network like GNCN-t1 in pcn_torch: its own training loop, plain torch without autograd, on one batch per epoch.

It has a target y at the top, here one number (a product of 360 x 1), gaussian errors at every layer, and measures the energy at every step.
"""

import torch
from pcn_torch import PCNLayer, PredictiveCodingNetwork, TrainConfig, train_pcn
from pcn_torch.trainer import TrainCallback

PACKAGE = "pcn-torch"
DIFFERENCES = {
    "train": "predictions tanh(z W) for tanh(z) W, gaussian errors, a target of one number; energy at every step; plain gradient steps for Adam; "
    "states start at N(0, 1); no prior, no leak, no norm limit"
}


def variants(batch, steps):
    layers = [PCNLayer(360, 784, activation="sigmoid"), PCNLayer(360, 360, activation="tanh"), PCNLayer(360, 360, activation="tanh")]
    network = PredictiveCodingNetwork(layers=layers, output_dim=1, mode="regression")
    config = TrainConfig(task="regression", T_infer=steps, T_learn=1, lr_infer=0.1, lr_learn=0.005, num_epochs=1, callback=TrainCallback())
    target = torch.zeros(batch, 1)

    def train(images):
        train_pcn(network, [(torch.from_numpy(images), target)], config)

    return {"train": train}
