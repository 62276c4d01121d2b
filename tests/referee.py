"""GNCN-t1 written a second time, in float64 numpy from the equations alone, with its metrics: the judge of runs from end to end."""

from pathlib import Path

import numpy as np
import torch

SHAPE = (6, 4)  # of the images: height and width differ, so that neither passes for the other
K, BETA, GAMMA, LAMBDA = 12, 0.1, 0.001, 0.01
NOISE = {"train": 0.05, "validation": 0.2, "test": 0.12}  # share of flipped pixels: no split has the figures of another
COUNT = {"train": 70, "validation": 30, "test": 40}


def write_images(path: Path) -> dict[str, np.ndarray]:
    """An .npz with three classes of bars in three splits; returns its arrays."""
    rng, arrays = np.random.default_rng(0), {}
    for split, n in COUNT.items():
        y = rng.integers(0, 3, n)
        bars = (np.arange(6)[None] // 2 == y[:, None])[:, :, None] * np.ones(SHAPE)
        arrays |= {f"x_{split}": np.where(rng.random((n, *SHAPE)) < NOISE[split], 1 - bars, bars).astype(np.float32), f"y_{split}": y}
    np.savez(path, **arrays)
    return arrays


def weights_of(checkpoint: Path) -> list[np.ndarray]:
    """W_1 .. W_L in float64."""
    weights = torch.load(checkpoint, weights_only=True)["weights"]
    return [weights[f"W{l}"].double().numpy() for l in range(1, 1 + sum(name[0] == "W" for name in weights))]


def settle(W: list[np.ndarray], x: np.ndarray, observed: np.ndarray | float = 1.0, steps: int = K) -> dict[str, list[np.ndarray]]:
    """Activities f_1 .. f_L, predictions mu_0 .. and residuals r_0 .. of images x (N, J_0) after `steps` steps from rest."""
    L = len(W)
    z = [np.zeros((len(x), w.shape[0])) for w in W]
    f, r, mu = list(z), [np.zeros((len(x), w.shape[1])) for w in W], []
    for _ in range(steps):
        drives = [(r[l] @ W[l].T) * (1 - np.tanh(z[l]) ** 2) - (r[l + 1] if l + 1 < L else 0) for l in range(L)]
        z = [z_l + BETA * (d - GAMMA * z_l - LAMBDA * np.sign(z_l)) for z_l, d in zip(z, drives)]
        f = [np.tanh(z_l) for z_l in z]
        mu = [f[l] @ W[l] for l in range(L)]
        mu[0] = 1 / (1 + np.exp(-mu[0]))
        r = [(x - mu[0]) * observed, *(z[l] - mu[l + 1] for l in range(L - 1))]
    return {"f": f, "mu": mu, "r": r}


def bce(x: np.ndarray, mu: np.ndarray) -> np.ndarray:
    mu = mu.clip(1e-7, 1 - 1e-7)
    return -(x * np.log(mu) + (1 - x) * np.log(1 - mu)).sum(1)


def figures(W: list[np.ndarray], x: np.ndarray) -> dict[str, np.ndarray]:
    """BCE, ToD and M-MSE (the right half unseen) of images (N, height, width), per image."""
    observed = np.ones(SHAPE)
    observed[:, SHAPE[1] // 2 :] = 0
    x, observed = x.reshape(len(x), -1).astype(float), observed.ravel()
    state, half = settle(W, x), settle(W, x, observed)
    return {
        "bce": bce(x, state["mu"][0]),
        "tod": -sum((r**2).sum(1) for r in state["r"]),
        "m_mse": ((x - half["mu"][0]) ** 2 * (1 - observed)).sum(1),
    }


def limited(w: np.ndarray) -> np.ndarray:
    """Columns (all synapses into one unit) longer than 1 brought to 1."""
    return w / np.maximum(np.linalg.norm(w, axis=0), 1)


def updates(W: list[np.ndarray], x: np.ndarray) -> list[np.ndarray]:
    """dW_l = f_l^T e_{l-1} / B."""
    state = settle(W, x)
    return [f.T @ r / len(x) for f, r in zip(state["f"], state["r"])]
