"""The typed schema: every key of ncf, its default, its range and its line of help.

The dataclasses are at once Hydra's schema, the text of ``--help`` and the record in every checkpoint. Ranges stand in the
fields (``least``, ``above``, ``most``, ``choices``); what relates several keys stands in ncf/config/checks.py.

Longer than 300 lines, so that every key is found in one file.
"""

from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING


def key(default, help: str, **range_) -> Any:
    """One config key: default, line of help, its range (least, above, most, choices), `place` (not part of the science), `free`
    (no part of what is learned: it may change when a run resumes) or `recorded` (by the run, not to be set), and `when`: what a key
    beside it must be for it to matter: ``solver=euler|momentum``, ``kind!=none``, or one of two, ``a=x or b=y``."""
    metadata = {"help": help, **range_}
    if isinstance(default, (list, dict)) or is_dataclass(default):
        return field(default_factory=lambda: default if is_dataclass(default) else type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def section(cls, help: str, **range_) -> Any:
    return field(default_factory=cls, metadata={"help": help, **range_})


# --- the networks -----------------------------------------------------------------------------------------------------


MOST_STEPS = 100_000  # a batch is settled to its end before a signal is heard
SOLVERS = ("euler", "momentum", "chebyshev")


@dataclass
class SettleConfig:
    steps: int = key(50, "K, settling steps per image", least=1, most=MOST_STEPS)
    beta: float = key(0.1, "beta, step size of the states", above=0)
    gamma: float = key(0.001, "gamma, leak of the states", least=0)
    solver: str = key("euler", "how the states step: euler (published), momentum or chebyshev (far fewer steps)", choices=SOLVERS)
    momentum: float = key(0.5, "m of the momentum solver", least=0, most=0.999, when="solver=momentum")
    growth: float = key(
        0.0, "g: beta_k of euler and momentum grows from (1 - g) beta to (1 + g) beta", least=0, most=0.999, when="solver=euler|momentum"
    )
    damping: float = key(
        9.0, "epsilon of the chebyshev solver: more of it tolerates less stiffness, and damps stiff modes more", above=0, when="solver=chebyshev"
    )
    rounds: int = key(1, "chebyshev: the steps are taken in this many rounds, each starting without momentum", least=1, when="solver=chebyshev")
    start: str = key(
        "rest",
        "where states start: rest (zero), projection (what observed roots predict, an image at the top) or recogniser (synapses of its own)",
        choices=("rest", "projection", "recogniser"),
    )
    share: float = key(
        0.68,
        "share of the recognised states that they start from; 1 - K/K' makes K steps like K' from rest",
        least=0,
        most=1,
        when="start=recogniser",
    )
    temperature: float = key(0.0, "T: learning settles under noise sqrt(2 beta T) at every step; 1: draws from the posterior", least=0)
    tolerance: float = key(0.0, "stop before K once a step changes every image's states by less than this share of their norm; 0: never", least=0)


@dataclass
class PriorConfig:
    kind: str = key("none", "prior on the states", choices=("none", "laplace", "gaussian", "cauchy"))
    strength: float = key(0.01, "lambda, strength of the prior", least=0, when="kind!=none")


@dataclass
class LateralConfig:
    enabled: bool = key(False, "lateral competition within columns (the L in a name)")
    columns: list[int] = key([12, 12, 18], "units per column, one number per layer or one for all", when="enabled=true")
    self_excitation: float = key(0.15, "alpha_e (published: 0.13)", least=0, when="enabled=true")
    inhibition: float = key(0.1, "alpha_h (published: 0.125)", least=0, when="enabled=true")


@dataclass
class PrecisionConfig:
    kind: str = key("none", "precision on e_1.. (the Sigma in a name)", choices=("none", "whitened", "published"))
    rate: float = key(0.01, "published: step of Sigma toward the batch's mean outer product", above=0, most=1, when="kind=published")
    shrinkage: float = key(0.1, "published: share of that outer product kept on its diagonal alone", least=0, most=1, when="kind=published")
    floor: float = key(1.0, "published: least variance; shrinkage * floor must be above beta / 2", above=0, when="kind=published")


@dataclass
class ConstraintConfig:
    kind: str = key(
        "unit", "norm of every column of synapses: unit (published), limit (released: scale down only), none", choices=("limit", "unit", "none")
    )
    radius: float = key(1.0, "the norm that is limited or set", above=0, when="kind!=none")
    axis: str = key(
        "into",
        "a column is all synapses of a bundle into one unit (published), or out_of one unit: its field, as in sparse coding",
        choices=("into", "out_of"),
        when="kind!=none",
    )


ACTIVATIONS = ["identity", "relu", "tanh", "sigmoid", "threshold"]  # a plugin may add to it
OBSERVATIONS = ("image", "label")
IMAGE_LIKELIHOODS = ["bernoulli", "gaussian"]  # a plugin may add to it


@dataclass
class LastPhaseConfig:
    steps: int = key(
        0,
        "learning: after settling, the top alone fits the image in so many further steps, and synapses learn from the errors that remain, too; 0: none",
        least=0,
    )
    beta: float = key(0.1, "step size of the last phase", above=0, when="steps!=0")
    temperature: float = key(
        1.0, "T: noise sqrt(2 beta T) on the top at every step of the last phase; with a prior there is none", least=0, when="steps!=0"
    )
    components: int = key(
        0,
        "components of a mixture over the top that learns in the last phase too, the top then drawn towards its posterior; 0: no prior",
        least=0,
        most=500,
    )
    moves: int = key(3, "with a prior: Hamiltonian moves by which the top is drawn, after the steps", least=1, when="components!=0")
    alone: bool = key(
        False,
        "synapses learn in the last phase alone, not from settled states too, and precision stays as it is; with a prior, an image's draws go on from "
        "epoch to epoch, and images settle in the first one only",
    )
    skips: bool = key(True, "synapses past a population (skips) learn in the last phase too", when="steps!=0")


@dataclass
class TermsConfig:
    """The terms of a network's equations (docs/concepts.md), for every population that does not set its own."""

    family: str = key("", "family of models")
    name: str = key("", "name shown in reports")
    activation: str = key("relu", "phi on the states z", choices=ACTIVATIONS)
    prediction: str = key("relu", "g on the predictions mu of hidden populations", choices=ACTIVATIONS)
    threshold: float = key(
        1.0,
        "lambda of activation threshold: phi(z) = max(z - lambda, 0) - max(-z - lambda, 0)",
        least=0,
        when="activation=threshold or prediction=threshold",
    )
    likelihood: str = key(
        "bernoulli",
        "of the image: bernoulli (g_0 sigmoid) or gaussian (g_0 identity; BCE clips its mu_0 to (0, 1))",
        choices=IMAGE_LIKELIHOODS,
    )
    target: str = key("activity", "what hidden errors e compare with the prediction: activity phi(z) or state z", choices=("activity", "state"))
    error_synapses: str = key("learned", "feedback through E (learned, t2) or W^T (tied, t1)", choices=("learned", "tied"))
    error_rate: float = key(1.0, "learning rate of E relative to that of W (matters with sgd; adam adapts to it)", least=0)
    derivative: bool = key(False, "multiply the feedback by phi'(z)")
    init_sd: float = key(0.05, "standard deviation of the starting synapses", above=0)
    prior: PriorConfig = section(PriorConfig, "prior on the states")
    precision: PrecisionConfig = section(PrecisionConfig, "precision of the hidden populations")
    constraint: ConstraintConfig = section(ConstraintConfig, "norm of the synapses")
    settle: SettleConfig = section(SettleConfig, "settling (inference)")
    last_phase: LastPhaseConfig = section(LastPhaseConfig, "learning from what the top alone makes of the image")


@dataclass
class GNCNConfig(TermsConfig):
    """The short form: a chain of layers above the image, each predicting the one below (and with skips the one below that)."""

    family: str = key("gncn", "family of models", choices=("gncn",))
    name: str = key("gncn", "name shown in reports")
    layers: list[int] = key([360, 360, 360], "units of z_1 .. z_L, from the image up")
    skips: bool = key(False, "generative skips M_l from layer l to l-2 (PDH)")
    lateral: LateralConfig = section(LateralConfig, "lateral competition")


@dataclass
class CompetitionConfig:
    self_excitation: float = key(0.15, "alpha_e (published: 0.13)", least=0)
    inhibition: float = key(0.1, "alpha_h (published: 0.125)", least=0)


@dataclass
class PopulationConfig:
    """Units that settle together; what is null is as the network's own key of that name says."""

    size: int | None = key(None, "units; null: taken from the data", least=1)
    observed: str | None = key(None, "what the data provides: image or label; null: nothing, it is hidden", choices=OBSERVATIONS)
    likelihood: str | None = key(None, "of an observed population", choices=("bernoulli", "gaussian", "categorical"))
    activation: str | None = key(None, "phi", choices=ACTIVATIONS)
    prediction: str | None = key(None, "g", choices=ACTIVATIONS)
    target: str | None = key(None, "activity or state", choices=("activity", "state"))
    columns: int = key(0, "units per column of lateral competition; 0: none compete", least=0)
    prior: str | None = key(None, "prior on its states", choices=("none", "laplace", "gaussian", "cauchy"))
    precision: str | None = key(None, "its kind of precision", choices=("none", "whitened", "published"))


@dataclass
class CircuitConfig(TermsConfig):
    """A network written out: populations, and bundles of synapses between them (`ncf.network.circuit`)."""

    family: str = key("circuit", "family of models", choices=("circuit",))
    name: str = key("circuit", "name shown in reports")
    populations: dict[str, PopulationConfig] = key(
        {}, "name: {size: 360, columns: 12} or {observed: image}; see docs/guides/circuits.md", each=PopulationConfig
    )
    bundles: list[str] = key(
        [], "'source -> target': the source's activity predicts the target; 'source -> target delayed': that of the frame before"
    )
    feedback: list[str] | None = key(
        None, "'target -> source', optionally tied or learned: the target's errors move the source; null: one for every bundle"
    )
    lateral: CompetitionConfig = section(CompetitionConfig, "lateral competition within columns")


# --- the baselines ----------------------------------------------------------------------------------------------------


@dataclass
class AutoencoderConfig:
    """An autoencoder trained by backpropagation; `code` tells RAE, GVAE, GVAE-CV and GAN-AE apart."""

    family: str = key("autoencoder", "family of models", choices=("autoencoder",))
    name: str = key("autoencoder", "name shown in reports")
    layers: list[int] = key([360, 360, 20], "units of the layers from the image up, the last one the latents; the encoder mirrors the decoder")
    code: str = key("plain", "what the latents are", choices=("plain", "gaussian", "constant", "adversarial"))
    l2: float = key(0.0, "penalty on the squared synapses of encoder and decoder, nats per image", least=0)
    divergence: float = key(1.0, "gaussian, constant: weight of the latents' divergence from their prior", least=0, when="code=gaussian|constant")
    variance: float = key(0.1, "constant: variance of the latents", above=0, when="code=constant")
    adversary: int = key(360, "adversarial: units in each of the adversary's two layers", least=1, when="code=adversarial")
    deception: float = key(1.0, "adversarial: weight of deceiving it, against nats per image", least=0, when="code=adversarial")
    refills: int = key(20, "completion: unseen pixels are zero, or refilled this many times, or the latents inferred, as validation chooses", least=1)
    inference_steps: int = key(50, "completion and bce_inferred: steps of Adam that infer the latents from the seen pixels", least=1)
    inference_rate: float = key(0.1, "step size of that inference", above=0)


@dataclass
class PixelMixtureConfig:
    """A Gaussian mixture with diagonal covariances on the pixels, climbing its log likelihood."""

    family: str = key("pixel_mixture", "family of models", choices=("pixel_mixture",))
    name: str = key("pixel_mixture", "name shown in reports")
    components: int = key(75, "components", least=1)
    floor: float = key(0.01, "least variance of a pixel", above=0)


@dataclass
class ClassifierConfig:
    """A discriminative relu network: image to class and nothing else."""

    family: str = key("classifier", "family of models", choices=("classifier",))
    name: str = key("classifier", "name shown in reports")
    layers: list[int] = key([360, 360, 360], "units of the relu layers, from the image up")
    l2: float = key(0.0, "penalty on the squared synapses, nats per image", least=0)
    dropout: float = key(0.0, "share of the hidden units that are silenced in a training batch, drawn for each image", least=0, most=0.9)
    input_dropout: float = key(0.0, "share of the pixels", least=0, most=0.9)


# --- data, optimizer, metrics -----------------------------------------------------------------------------------------


LOGGERS = ("tensorboard", "wandb", "mlflow", "csv")
DATASETS = (
    *("digits", "mnist", "fashion_mnist", "kmnist", "caltech101_silhouettes", "caltech101_silhouettes_16"),
    *("natural_patches", "npz", "folder", "idx", "moving_digits", "moving_mnist"),
)
KEPT_APART = ("natural_patches", "moving_digits", "moving_mnist")  # whose validation and test images come from places or digits of their own
REAL_VALUED = ("natural_patches",)  # of any value, around zero; the others' pixels are in [0, 1]


@dataclass
class DatasetConfig:
    name: str = key("digits", f"which reader: {', '.join(DATASETS)}, or a plugin's")
    folder: str | None = key(None, "folder inside data_dir; null: the dataset's name", free=True)
    path: str | None = key(None, "npz: the file; folder: the folder of pictures; idx: the folder of the files", free=True)
    size: int | None = key(
        None, "folder: pictures are cropped to a square and resized to this many pixels per side; null: as they are", least=1, when="name=folder"
    )
    grey: bool = key(False, "folder, npz: turn coloured pictures grey", when="name=folder|npz")
    invert: bool = key(False, "invert the grey levels: ncf expects bright objects on a dark ground")
    binarize: str = key(
        "threshold",
        "threshold (at one half), static (drawn once, white as often as the pixel is bright), bernoulli (drawn again in every epoch) or none",
        choices=("threshold", "static", "bernoulli", "none"),
    )
    n_train: int | None = key(None, "number of training images (of sequences, where images come in sequences); null: all", least=1)
    n_labels: int | None = key(None, "training images that keep their labels, as many of every class; null: all", least=1)
    n_validation: int | None = key(None, "validation images split off the training set; null: a sixth, or the set's own split", least=1)
    stratified: bool = key(False, "draw as many validation images from every class as from any other (published)")
    split_seed: int = key(0, "seed of that split, apart from the run's seed", least=0)
    mirror: str | None = key(None, "address to download from instead of the published one", place=True)


@dataclass
class OptimizerConfig:
    name: str = key("adam", "how local updates change the synapses; default: sgd for the networks, adam for the baselines", choices=("adam", "sgd"))
    lr: float = key(0.001, "learning rate", above=0)
    beta1: float = key(0.9, "adam: decay of the first moment; sgd: momentum", least=0, most=0.999999)
    beta2: float = key(0.999, "adam: decay of the second moment", least=0, most=0.999999, when="name=adam")
    epsilon: float = key(1e-7, "adam: added to the root of the uncorrected second moment", above=0, when="name=adam")
    clip: float | None = key(
        None, "updates of all synapses that are longer together are shortened to this norm; null: never (the article's baselines: 5)", above=0
    )
    cooldown: int = key(
        0, "over so many epochs, the last, the learning rate falls to zero in a straight line; patience may end the run before", least=0
    )


@dataclass
class MixtureConfig:
    components: int = key(75, "largest number of components; fewer if there are fewer than 240 latents for each (the released rule)", least=1)
    latents: int = key(18000, "it is fitted to the settled top activities of this many training images, the first ones", least=2)
    floor: float = key(1e-6, "added to every variance", above=0)
    shrinkage: float | None = key(0.0, "covariances between units are multiplied by 1 minus this; null: chosen on held-out latents", least=0, most=1)
    rounds: int = key(
        0,
        "rounds in which it is refitted to draws from the posterior of the latents, by Monte Carlo EM on log p(x); not for samples of a class",
        least=0,
    )
    final_steps: int = key(0, "steps by which the top alone fits the image before its activities are taken", least=0)
    final_beta: float = key(0.1, "step size of these", above=0)


@dataclass
class AnnealingConfig:
    images: int = key(20, "first images of the split", least=1)
    check_images: int = key(20, "images drawn from the model, for the bidirectional check", least=1)
    chains: int = key(8, "chains per image", least=1)
    steps: int = key(1000, "temperatures from prior to posterior", least=1)
    leapfrogs: int = key(5, "leapfrogs per move", least=1)


@dataclass
class MetricsConfig:
    names: list[str] = key(["bce", "tod"], "which metrics: see docs/concepts.md, or the options of group metrics")
    mask: str = key("right", "m_mse: the half (or pixels) that settling does not see", choices=("left", "right", "top", "bottom", "random"))
    mask_fraction: float = key(0.5, "m_mse: share of unseen pixels", above=0, most=0.99)
    n_images: int | None = key(None, "first images of the split to measure on; null: all", least=1)
    batch_size: int = key(500, "images settled together when measuring", least=1)
    penalty: float | None = key(
        None, "class_err: L2 penalty of the regression; null: chosen on validation images, from 100, 10, 1, 0.1 and 0.01", above=0
    )
    in_use: float = key(1e-3, "in_use: a unit is, where |f| is above this", least=0)
    n_compared: int = key(
        5000, "metrics that end in _pixels or _features: at most so many samples, and as many training and held-out images", least=6
    )
    reader: str | None = key(
        None, "metrics that end in _features, and class_entropy: run or checkpoint of a classifier of the same images; null: these are left out"
    )
    samples: int = key(5000, "log_p: S, draws from the prior", least=2)
    best_steps: int = key(200, "bce_best_top: steps of gradient ascent", least=0)
    encoder_samples: int = key(200, "log_p_encoder: draws from the encoder per image", least=1)
    mixture: MixtureConfig = section(MixtureConfig, "the Gaussian mixture over top activities")
    annealing: AnnealingConfig = section(AnnealingConfig, "log_p_annealed: annealed importance sampling")
    cache: bool = key(True, "keep the training images' latents and the fitted mixture next to the checkpoint", place=True)


PLACE = {"place": True}  # where and how a run is carried out; no part of what is computed


@dataclass
class ComputeConfig:
    dtype: str = key(
        "auto",
        "type of settling's matrix products: float32, bf16, or auto (bf16 where the hardware is faster with it); states and synapses are always float32",
        choices=("auto", "float32", "bf16"),
    )
    compile: bool = key(False, "on a GPU, compile a settling step: takes some seconds at the start, and then half the time", **PLACE)


# --- the two commands -------------------------------------------------------------------------------------------------


@dataclass
class CheckpointConfig:
    every_minutes: float = key(10.0, "save inside an epoch when this long has passed; 0: only at its end", least=0, **PLACE)
    every_steps: int = key(0, "save after this many batches; 0: never inside an epoch", least=0, **PLACE)


@dataclass
class TrainConfig:
    model: Any = key(MISSING, "the network: see group model")
    dataset: DatasetConfig = section(DatasetConfig, "the images: see group dataset")
    start_from: str | None = key(None, "run or checkpoint from whose synapses (and precision) training starts; null: fresh ones")
    optimizer: OptimizerConfig = section(OptimizerConfig, "how updates are applied: see group optimizer")
    metrics: MetricsConfig = section(MetricsConfig, "what the final report measures: see group metrics", free=True)
    compute: ComputeConfig = section(ComputeConfig, "arithmetic")
    epochs: int = key(15, "passes over the training images", least=1, free=True)
    batch_size: int = key(200, "images per update; a model that reads the frame before takes one frame of so many sequences", least=1)
    seed: int = key(0, "seed of weights, data order and sampling", least=0)
    validate_every: int = key(1, "epochs from one validation to the next (validation chooses best.pt); 0: after the last only", least=0)
    patience: int | None = key(None, "stop after this many validations without a better BCE; null: never", least=1, free=True)
    patience_gain: float = key(0.0, "nats per image by which a BCE must be better to count for patience", least=0, free=True, when="patience!=null")
    threads: int | None = key(None, "processor threads; null: all cores", least=1, **PLACE)
    device: str = key("auto", "auto (CUDA if available), cpu, cuda or cuda:N", **PLACE)
    data_dir: str | None = key(None, "folder of the image sets; null: NCF_DATA, else a cache folder in your home", **PLACE)
    output_dir: str = key("outputs", "where runs/ and sweeps/ are written", **PLACE)
    name: str | None = key(None, "name of the run (or sweep) folder; null: made from time, model, dataset and seed", **PLACE)
    run_dir: str | None = key(None, "the run folder itself, in place of output_dir and name", **PLACE)
    resume: str = key("auto", "auto: a named run or sweep job resumes where it stopped; never: refuse; or the folder of any run", **PLACE)
    progress: str = key("auto", "bar, plain (lines), off, or auto: a bar when a person watches", choices=("auto", "bar", "plain", "off"), **PLACE)
    logger: Any = key("none", "also log to none, or one or several of tensorboard, wandb, mlflow and csv: logger=[csv,wandb]", **PLACE)
    report: bool = key(True, "write report.html at the end; false saves seconds per job of a sweep, and ncf-report RUN writes it later", **PLACE)
    config: str | None = key(None, "config.yaml of another run: what the command line does not give is as there", **PLACE)
    config_dir: str | None = key(None, "recorded by a run: the folder that --config-dir named", recorded=True, **PLACE)
    chosen: dict[str, str] = key({}, "recorded by a run: the option of each group", recorded=True, **PLACE)
    checkpoint: CheckpointConfig = section(CheckpointConfig, "when to save", **PLACE)


@dataclass
class EvalConfig:
    checkpoint: str = key(MISSING, "path of a checkpoint (best.pt), or its run folder")
    dataset: DatasetConfig = section(DatasetConfig, "other images of the same shape; not given: those of the checkpoint")
    metrics: MetricsConfig = section(MetricsConfig, "what to measure; not given: what the training report measured")
    steps: int | None = key(None, "K, settling steps; null: those of training", least=1, most=MOST_STEPS)
    beta: float | None = key(None, "beta, step size of the states; null: that of training", above=0)
    solver: str | None = key(None, "euler, momentum or chebyshev; null: that of training", choices=SOLVERS)
    momentum: float | None = key(None, "m of the momentum solver; null: that of training", least=0, most=0.999)
    growth: float | None = key(None, "g of euler and momentum; null: that of training", least=0, most=0.999)
    damping: float | None = key(None, "epsilon of the chebyshev solver; null: that of training", above=0)
    rounds: int | None = key(None, "rounds of the chebyshev solver; null: those of training", least=1)
    split: str = key("all", "train, validation, test, or all (validation and test)", choices=("train", "validation", "test", "all"))
    threads: int | None = key(None, "processor threads; null: all cores", least=1)
    device: str = key("auto", "auto (CUDA if available), cpu, cuda or cuda:N")
    data_dir: str | None = key(None, "folder of the image sets; null: NCF_DATA, else a cache folder in your home")
    output: str | None = key(None, "file to write; null: eval-CHECKPOINT-DATASET-SPLIT.json next to the checkpoint")


@dataclass
class SampleConfig:
    checkpoint: str = key(MISSING, "path of a checkpoint (best.pt), or its run folder")
    n: int = key(100, "samples to draw", least=1)
    seed: int = key(0, "seed of the draws", least=0)
    prior: str = key(
        "auto",
        "own (the one the model was trained with), fitted (to settled training images), auto: own if there is one",
        choices=("auto", "own", "fitted"),
    )
    condition: str | None = key(None, "label:3 (samples of one class), label:all (a row of samples per class); null: of no class in particular")
    noise: str = key("none", "of samples: none (every population is its prediction), layers (each is drawn around it)", choices=("none", "layers"))
    reader: str | None = key(None, "run or checkpoint of a classifier that tells the samples' classes; null: the vote of the nearest training images")
    masks: list[str] = key(["left", "right", "top", "bottom", "random"], "unseen parts, one set of completions each")
    mask_fraction: float = key(0.5, "share of unseen pixels", above=0, most=0.99)
    n_completions: int = key(12, "test images to complete", least=1)
    dataset: DatasetConfig = section(DatasetConfig, "other images of the same shape; not given: those of the checkpoint")
    threads: int | None = key(None, "processor threads; null: all cores", least=1)
    device: str = key("auto", "auto (CUDA if available), cpu, cuda or cuda:N")
    data_dir: str | None = key(None, "folder of the image sets; null: NCF_DATA, else a cache folder in your home")
    output: str | None = key(None, "folder to write; null: NAME-samples next to the checkpoint, with the condition where there is one")


MODEL_FAMILIES = {
    "gncn": GNCNConfig,
    "circuit": CircuitConfig,
    "autoencoder": AutoencoderConfig,
    "pixel_mixture": PixelMixtureConfig,
    "classifier": ClassifierConfig,
}


def register_schemas() -> None:
    """Give Hydra the schemas; the YAML files of each group and the two primary configs start from them."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainConfig)
    store.store(name="eval_schema", node=EvalConfig)
    store.store(name="sample_schema", node=SampleConfig)
    for group, schemas in {"model": MODEL_FAMILIES, "dataset": {"dataset": DatasetConfig}, "metrics": {"metrics": MetricsConfig}}.items():
        for name, schema in schemas.items():
            store.store(group=group, name=f"{name}_schema", node=schema)


RENAMED = {"compute.precision": "compute.dtype", "metrics.prior": "metrics.mixture"}  # what 0.1 called it -> its name now


def modern(plain: dict) -> dict:
    """A config as plain dicts with the keys of 0.1 under their names now."""
    plain = dict(plain)
    for (section, old), (_, new) in ((old.split("."), new.split(".")) for old, new in RENAMED.items()):
        node = plain.get(section)
        if isinstance(node, dict) and old in node:
            plain[section] = {new if name == old else name: value for name, value in node.items()}
    return plain


# --- the schema as a whole --------------------------------------------------------------------------------------------


def science(config: TrainConfig) -> dict:
    """The part of a config that determines the result, as plain dicts: everything but keys marked `place`."""
    return without_place(asdict(config))


def identity(config: TrainConfig) -> dict:
    """The part of a config that a run must keep when it resumes, as plain dicts."""
    return without_place(asdict(config), marks=("place", "free"))


def without_place(plain: dict, schema: type = TrainConfig, marks: tuple[str, ...] = ("place",)) -> dict:
    """A config as plain dicts, without its keys marked `place` (or with any of the marks)."""
    known = {f.name: f for f in fields(schema)}
    kept = {}
    for name, value in plain.items():
        if name in known and any(known[name].metadata.get(mark) for mark in marks):
            continue
        inner = known[name].default_factory if name in known else None
        kept[name] = without_place(value, inner, marks) if is_dataclass(inner) and isinstance(value, dict) else value
    return kept


def flatten(node: dict, prefix: str = "") -> dict:
    """A nested dict as dotted keys."""
    flat = {}
    for name, value in node.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def configs_folder() -> str:
    """The YAML configs: inside the installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "configs"
    return str(inside if inside.is_dir() else package.parent / "configs")
