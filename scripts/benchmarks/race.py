"""Seconds of training to a result on MNIST, for ncf, other packages and backpropagation: `scripts/benchmark --race FIGURE.png`.

One after the other, every contestant trains on the same batches of 200 images, in the same order, on the same cores; only training is
timed. At fixed times its test BCE is measured (nats per image, the first 2,000 test images), and at some of them %Err of its code by
logistic regression on the codes of all training images (10,000 test images), until it has reached both goals or its time is up. A
package without an evaluation like ours hands its synapses over to ncf's network with the same equations.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers import SCRIPTS, Peer, environment
from benchmarks.rounds import now
from ncf.config.compose import compose_train
from ncf.data import datasets
from ncf.data.streams import stream
from ncf.errors import UserError
from ncf.measure.fitting import quiet_fit
from ncf.models import build_model, seen_of
from ncf.network.discrepancy import bce
from ncf.network.model import Model
from ncf.network.optimizer import Optimizer
from ncf.runs.provenance import hardware, versions
from ncf.training import train_step

BATCH, CHUNK = 200, 5  # images per batch, batches between two looks at the clock
GOALS = {"bce": 52.0, "err": 4.0}
RELEASED = ["optimizer=adam", "model.constraint.kind=limit"]  # as the peers train theirs
OURS = {
    "GNCN-t1": ["model=gncn_t1", *RELEASED],
    "GNCN-t1-Sigma": ["model=gncn_t1_sigma", *RELEASED],
    "GNCN-t1-Sigma, Chebyshev": ["model=gncn_t1_sigma", *RELEASED, "model.settle.solver=chebyshev", "model.settle.steps=13", "model.settle.beta=0.4"],
    "GNCN-PDH, SGD": ["model=gncn_pdh"],
    "GVAE (backpropagation)": ["model=gvae"],
}
PEERS = {"pcx": "unrolled", "ngclearn": "scanned"}  # those whose settled states are ncf's; the variant that is the faster one
LEFT_OUT = {"fabricpc": "its prediction is tanh(z W), another network"}


@dataclass
class Contestant:
    """`train` on images (n, 784) takes so many seconds; `network` has what has been learned so far."""

    name: str
    train: Callable[[torch.Tensor], float]
    network: Callable[[], Model]
    points: list[dict] = field(default_factory=list)

    def reached(self, goal: str) -> float | None:
        """Seconds of training at the first measurement that met a goal."""
        return next((p["seconds"] for p in self.points if p.get(goal, np.inf) <= GOALS[goal]), None)


def ours(name: str, words: list[str], data: datasets.Dataset) -> Contestant:
    config = compose_train("dataset=mnist", *words)

    def made() -> tuple[Model, Optimizer]:
        network = build_model(config, seen_of(data), stream(0, "synapses"), torch.device("cpu"))
        return network, Optimizer(config.optimizer, network.parameters)

    network, optimizer = made()
    steps = iter(range(10**9))

    def train(images: torch.Tensor) -> float:
        start = now()
        for x in images.split(BATCH):
            train_step(network, optimizer, x, rng=stream(0, "noise", next(steps)))
        return now() - start

    train_step(*made(), data.splits["train"].x[:BATCH], rng=stream(0, "warm up"))  # compiles
    return Contestant(f"ncf: {name}", train, lambda: network)


def peers(name: str, variant: str, data: datasets.Dataset, folder: Path) -> Contestant:
    """A peer's GNCN-t1; every measurement is of ncf's with its synapses."""
    peer = Peer(environment(name), SCRIPTS / f"{name}.py", BATCH, 50)
    mirror = build_model(compose_train("dataset=mnist", "model=gncn_t1"), seen_of(data), stream(0, "synapses"), torch.device("cpu"))
    images_file, synapses_file = folder / "images.npy", folder / "synapses.npz"

    def train(images: torch.Tensor) -> float:
        np.save(images_file, images.numpy())
        return peer.ask({"variant": variant, "images": str(images_file)})["seconds"]

    def network() -> Model:
        peer.ask({"variant": variant, "synapses": str(synapses_file)})
        with np.load(synapses_file) as file:
            for key, values in file.items():
                mirror.parameters[key].copy_(torch.from_numpy(values))
        return mirror

    return Contestant(f"{name} {peer.version}: GNCN-t1", train, network)


def chunks(data: datasets.Dataset) -> Iterator[torch.Tensor]:
    """Images of CHUNK whole batches, epoch after epoch in ncf's order."""
    epoch, waiting = 0, []
    while True:
        epoch += 1
        for _, x, _ in datasets.batches(data, BATCH, 0, epoch):
            waiting += [x] if len(x) == BATCH else []
            if len(waiting) == CHUNK:
                yield torch.cat(waiting)
                waiting = []


def test_bce(network: Model, data: datasets.Dataset) -> float:
    return bce(network.settle(data.splits["test"].x[:2000])).mean().item()


def test_error(network: Model, data: datasets.Dataset) -> float:
    """%Err by a regression with a penalty of 1, which `class_err` would choose on validation images."""
    from sklearn.linear_model import LogisticRegression

    def codes(split: str) -> np.ndarray:
        return torch.cat([network.settle(x).code for x in data.splits[split].x.split(1000)]).double().numpy()

    with quiet_fit():
        model = LogisticRegression(max_iter=1000).fit(codes("train"), data.splits["train"].y.numpy())
    return 100 * float((model.predict(codes("test")) != data.splits["test"].y.numpy()).mean())


def marks(seconds: float) -> Iterator[tuple[float, bool]]:
    """Times of measurement, four to a doubling, and whether %Err is measured too: at every doubling, and at the end."""
    n = 0
    while (at := 2 * 2 ** (n / 4)) < seconds:
        yield at, n % 4 == 0 and n >= 4
        n += 1
    yield seconds, True


def run(contestant: Contestant, data: datasets.Dataset, seconds: float) -> None:
    """Train and measure until both goals are reached or `seconds` of training are over."""
    spent, images = 0.0, 0
    training = chunks(data)
    for at, with_error in marks(seconds):
        while spent < at:
            chunk = next(training)
            spent += contestant.train(chunk)
            images += len(chunk)
        point = {"seconds": spent, "images": images, "bce": test_bce(contestant.network(), data)}
        if with_error and contestant.reached("err") is None:
            point["err"] = test_error(contestant.network(), data)
        contestant.points.append(point)
        print(contestant.name, json.dumps(point), file=sys.stderr, flush=True)
        if all(contestant.reached(goal) is not None for goal in GOALS):
            return


def table(contestants: list[Contestant]) -> str:
    from ncf.report.tables import aligned

    lines = [
        [
            "who",
            f"s to BCE {GOALS['bce']:g}",
            f"s to %Err {GOALS['err']:g}",
            "least BCE",
            "last BCE",
            "least %Err",
            "last %Err",
            "seconds",
            "images/s",
        ]
    ]
    for c in contestants:
        last = c.points[-1]
        reached = [f"{t:.1f}" if (t := c.reached(goal)) is not None else "not reached" for goal in GOALS]
        measured = [[p[goal] for p in c.points if goal in p] for goal in GOALS]
        told = [f"{value:.2f}" for values in measured for value in (min(values), values[-1])]
        lines.append([c.name, *reached, *told, f"{last['seconds']:.0f}", f"{last['images'] / last['seconds']:,.0f}"])
    return aligned(lines)


def draw(contestants: list[Contestant], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    titles = {"bce": "test BCE, nats per image", "err": "test %Err of the code"}
    for panel, (goal, title) in zip(figure.subplots(1, 2), titles.items()):
        for c in contestants:
            points = [(p["seconds"], p[goal]) for p in c.points if goal in p]
            panel.plot(*zip(*points), "o-" if c.name.startswith("ncf") else "s--", markersize=3, label=c.name)
        panel.axhline(GOALS[goal], color="#777777", linewidth=0.8)
        panel.set(xlabel="seconds of training", xscale="log", title=title, yscale="log")
        ticks = [1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 40, 50, 60, 80, 100, 150, 200, 300]
        low, high = panel.get_ylim()
        panel.set_yticks([t for t in ticks if low <= t <= high], [str(t) for t in ticks if low <= t <= high])
        times = [1, 2, 5, 10, 20, 50, 100, 200, 500]
        low, high = panel.get_xlim()
        panel.set_xticks([t for t in times if low <= t <= high], [str(t) for t in times if low <= t <= high])
        panel.minorticks_off()
        panel.grid(color="#e5e5e5")
        panel.spines[["top", "right"]].set_visible(False)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def race(names: list[str], seconds: float, figure: Path) -> None:
    """What `scripts/benchmark --race` does: train all, print a table and one line of JSON, draw the figure."""
    data = datasets.load(compose_train("dataset=mnist", "model=gncn_t1").dataset)
    done, failed = [], dict(LEFT_OUT)
    with tempfile.TemporaryDirectory() as folder:
        makers: dict[str, Callable[[], Contestant]] = {name: lambda n=name, w=words: ours(n, w, data) for name, words in OURS.items()}
        makers |= {name: lambda n=name, v=variant: peers(n, v, data, Path(folder)) for name, variant in PEERS.items()}
        for name in names or makers:
            try:
                contestant = makers[name]()
                run(contestant, data, seconds)
                done.append(contestant)
            except UserError as error:
                failed[name] = str(error)
    print(table(done))
    for name, reason in failed.items():
        print(f"{name}: {reason}")
    draw(done, figure)
    rows = [{"who": c.name, "points": c.points} for c in done]
    print(json.dumps({"rows": rows, "failed": failed, "goals": GOALS, "hardware": hardware(torch.device("cpu")), "versions": versions()}))
