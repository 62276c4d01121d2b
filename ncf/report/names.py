"""Names of methods, data sets and keys as people write them."""

from collections.abc import Iterable

METHODS = {
    "gncn_t1": "GNCN-t1",
    "gncn_t1_sigma": "GNCN-t1-Σ",
    "gncn_t2_l_sigma": "GNCN-t2-LΣ",
    "gncn_pdh": "GNCN-PDH",
    "gncn_pdh_skip": "GNCN-PDH, extra skip",
    "gncn_pdeh": "GNCN-PDEH",
    "gncn_pdeh_skip": "GNCN-PDEH, extra skip",
    "two_streams": "Two streams",
    "sparse_cauchy": "Sparse coding, Cauchy prior",
    "sparse_threshold": "Sparse coding, soft threshold",
    "rae": "RAE",
    "gvae": "GVAE",
    "gvae_cv": "GVAE-CV",
    "gan_ae": "GAN-AE",
    "gmm": "GMM",
    "relu_classifier": "ReLU classifier",
}
DATASETS = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "caltech101_silhouettes": "CalTech-101 silhouettes",
    "caltech101_silhouettes_16": "CalTech-101 silhouettes, 16 x 16",
    "natural_patches": "natural patches",
}


AXES = {
    "model.settle.steps": "K (settling steps)",
    "model.settle.beta": "β (step size of settling)",
    "optimizer.lr": "learning rate",
    "dataset.n_train": "training images",
    "batch_size": "images per update",
    "epochs": "epochs",
    "model.lateral.inhibition": "lateral inhibition",
    "model.lateral.self_excitation": "self-excitation",
    "model.prior.strength": "λ (strength of the prior)",
}


def axis(key: str) -> str:
    """A key as the label of an axis."""
    return AXES.get(key, key)


def method(name: str) -> str:
    return METHODS.get(name, name)


def dataset(name: str) -> str:
    return DATASETS.get(name, name)


def short_keys(keys: Iterable[str]) -> dict[str, str]:
    """Key -> its last word where no other key ends in the same; model.name is model."""
    typed = {key: key.removesuffix(".name") if key in ("model.name", "dataset.name", "optimizer.name") else key for key in keys}
    last = [key.split(".")[-1] for key in typed.values()]
    return {key: name.split(".")[-1] if last.count(name.split(".")[-1]) == 1 else name for key, name in typed.items()}
