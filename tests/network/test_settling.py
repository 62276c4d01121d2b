"""The fast settling against the plain equations, for every term a network can have."""

import copy
import dataclasses
import shutil

import numpy as np
import pytest
import torch
from small import require_same, run_again

from ncf.config.schema import GNCNConfig, LateralConfig, PrecisionConfig, PriorConfig, SettleConfig
from ncf.network import compiled, cuda_graph, kernels, products, settling
from ncf.network.activations import ACTIVATIONS, activation
from ncf.network.gncn import GNCN
from ncf.network.products import packing_works

T1 = dict(prediction="identity", target="state", error_synapses="tied", derivative=True)
LATERAL = LateralConfig(enabled=True, columns=[3, 4, 4])
VARIANTS = {
    "t1": GNCNConfig(activation="tanh", prior=PriorConfig("laplace", 0.05), **T1),
    "t1_sigma": GNCNConfig(activation="relu", prior=PriorConfig("laplace", 0.05), precision=PrecisionConfig("whitened"), **T1),
    "t2_l_sigma": GNCNConfig(lateral=LATERAL, precision=PrecisionConfig("whitened")),
    "pdh": GNCNConfig(lateral=LATERAL, precision=PrecisionConfig("whitened"), skips=True),
    "published precision": GNCNConfig(precision=PrecisionConfig("published"), skips=True),
    "sigmoid activity": GNCNConfig(activation="sigmoid", derivative=True, lateral=LATERAL, skips=True, precision=PrecisionConfig("whitened")),
    "sigmoid prediction": GNCNConfig(prediction="sigmoid", target="state"),
    "identity, gaussian": GNCNConfig(activation="identity", likelihood="gaussian", derivative=True, prior=PriorConfig("gaussian", 0.1)),
    "cauchy": GNCNConfig(activation="tanh", prediction="tanh", prior=PriorConfig("cauchy", 0.1)),
    "threshold": GNCNConfig(activation="threshold", prediction="threshold", threshold=0.02, target="state"),
    "chebyshev": GNCNConfig(skips=True, lateral=LATERAL, precision=PrecisionConfig("whitened"), settle=SettleConfig(solver="chebyshev", beta=0.3)),
    "growth": GNCNConfig(skips=True, settle=SettleConfig(growth=0.8)),
    "momentum": GNCNConfig(skips=True, lateral=LATERAL, settle=SettleConfig(solver="momentum", momentum=0.6)),
}


def pair(config: GNCNConfig, layers: list[int], n_pixels: int, batch: int, dtype: torch.dtype) -> tuple[GNCN, torch.Tensor]:
    config = dataclasses.replace(copy.deepcopy(config), layers=layers, init_sd=0.3)
    rng = np.random.default_rng(4)
    network = GNCN(config, n_pixels, rng)
    for name in network.parameters:
        network.parameters[name] = network.parameters[name].to(dtype)
    network.q = {l: q.to(dtype) for l, q in network.q.items()}
    return network, torch.from_numpy((rng.random((batch, n_pixels)) < 0.4).astype(np.float64)).to(dtype)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 25])
@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_fast_settling_is_the_plain_one(config, steps):
    network, x = pair(config, [12, 8, 16], 10, 37, torch.float64)
    require_same(network.settle(x, steps=steps), network.settle_plainly(x, steps=steps), 1e-11, 1e-9)


@pytest.mark.parametrize("name", ["t1", "pdh", "sigmoid activity"])
def test_multiply_adds_are_those_carried_out(name, monkeypatch):
    network, x = pair(VARIANTS[name], [12, 8, 16], 10, 1, torch.float64)
    done = []
    for product in ("after", "added"):
        carried_out = getattr(products.Factor, product)
        monkeypatch.setattr(
            products.Factor, product, lambda self, left, *more, do=carried_out: done.append(self.matrix.numel()) or do(self, left, *more)
        )
    network.settle(x, steps=7)
    assert settling.multiply_adds(network, 7) == sum(done)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_at_any_depth(depth):
    config = dataclasses.replace(VARIANTS["pdh"], lateral=LateralConfig(enabled=True, columns=[3]))
    network, x = pair(config, [12] * depth, 10, 5, torch.float64)
    require_same(network.settle(x, steps=9), network.settle_plainly(x, steps=9), 1e-11, 1e-9)


@pytest.mark.parametrize("shape", [(10,), (37, 10)], ids=["one mask", "a mask per image"])
def test_masks(shape):
    network, x = pair(VARIANTS["pdh"], [12, 8, 16], 10, 37, torch.float64)
    observed = torch.from_numpy((np.random.default_rng(0).random(shape) < 0.5).astype(np.float64))
    require_same(network.settle(x, observed, steps=9), network.settle_plainly(x, observed, steps=9), 1e-11, 1e-9)


@pytest.mark.parametrize("packed", [False, True], ids=["plain products", "packed products"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_rows_split_over_threads_and_packed_products(threads, packed, monkeypatch):
    """Whatever pays: every product packed or none, sums of products too, and row counts that no number of threads divides."""
    monkeypatch.setattr(products, "WORK_PER_THREAD", 1)
    monkeypatch.setattr(products, "pays", lambda *_, **__: packed)
    factors, parts = [], []
    made, shared = products.Factor.__init__, settling.Rows.settle
    monkeypatch.setattr(products.Factor, "__init__", lambda self, *given, **named: made(self, *given, **named) or factors.append(self))
    monkeypatch.setattr(settling.Rows, "settle", lambda self, steps: parts.append(len(self.z[0])) or shared(self, steps))
    network, x = pair(VARIANTS["pdh"], [96, 64, 64], 80, 101, torch.float32)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        require_same(network.settle(x, steps=12), network.settle_plainly(x, steps=12), 2e-5, 1e-4)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(parts) == threads and sum(parts) == 101
    assert {factor.packed is not None for factor in factors} == {packed and packing_works()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bf16"])
def test_the_sizes_of_the_article_settle_as_the_plain_equations_do(dtype):
    """There products are packed and shared as they are in use."""
    network, x = pair(VARIANTS["pdh"], [360, 360, 360], 784, 100, torch.float32)
    network.product_dtype = dtype
    settled, plain = network.settle(x, steps=5), network.settle_plainly(x, steps=5)
    if dtype == torch.float32:
        require_same(settled, plain, 2e-5, 1e-4)
    assert (settled.mu[0] - plain.mu[0]).abs().mean() < (1e-5 if dtype == torch.float32 else 0.01)


def test_packed_products_are_used_on_x86():
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    assert packing_works()


@pytest.mark.parametrize("name", ["t1", "t1_sigma", "pdh"])
def test_bfloat16_products_stay_near_float32(name):
    network, x = pair(VARIANTS[name], [96, 64, 64], 80, 64, torch.float32)
    exact = network.settle(x)
    network.product_dtype = torch.bfloat16
    rounded = network.settle(x)
    assert all(t.dtype == torch.float32 for t in (*rounded.z, *rounded.mu, *rounded.r, *rounded.e))
    error = (rounded.mu[0] - exact.mu[0]).abs()
    assert 0 < error.mean() < 0.01 and error.max() < 0.2


def test_what_diverges_shows_in_the_state():
    network, x = pair(VARIANTS["pdh"], [12, 8, 16], 10, 20, torch.float32)
    network.config.settle.beta = 1e20
    assert not torch.isfinite(network.settle(x).z[3]).all()


# --- compiled code ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sigmoid", "tanh"])
def test_compiled_activations_in_float32(kind):
    """Over the whole range and near zero, where tanh z is z: within two units in the last place of float32."""
    z = np.concatenate([np.linspace(-95, 95, 200001), np.geomspace(1e-30, 1, 1001), [0.0]]).astype(np.float32)
    f = np.empty_like(z)
    kernels.activate(kernels.ACTIVATIONS[kind], z, f, np.float32(0))
    exact = np.tanh(z.astype(np.float64)) if kind == "tanh" else 1 / (1 + np.exp(-z.astype(np.float64)))
    assert (np.abs(f - exact) <= 3e-7 * np.abs(exact) + 1e-37).all()


@pytest.mark.parametrize("kind", [kind for kind in kernels.ACTIVATIONS if kind != "softmax"])
def test_compiled_activations_keep_what_is_no_number(kind):
    f = np.empty(2, np.float32)
    kernels.activate(kernels.ACTIVATIONS[kind], np.array([np.nan, 1.0], np.float32), f, np.float32(0.5))
    assert np.isnan(f[0]) and np.isfinite(f[1])


@pytest.mark.parametrize("kind", [name for name, phi in ACTIVATIONS.items() if phi.slope])
def test_compiled_slopes_are_the_plain_ones(kind):
    z = torch.tensor([-2.0, -0.3, 0.0, 0.3, 2.0])
    phi, d = activation(kind, 0.5), np.full(5, 3.0, np.float32)
    f, rates = phi.value(z, out=torch.empty_like(z)), [np.float32(0)] * 4 + [np.float32(0.5)]
    terms = kernels.Terms(*rates, heavy_ball=0, activation=kernels.ACTIVATIONS[kind], derivative=1, predicted=0, columns=0, prior=0)
    kernels.slope(d, z.numpy(), f.numpy(), terms)
    torch.testing.assert_close(torch.from_numpy(d), 3 * phi.slope(z, f))


def test_bfloat16_is_rounded_as_torch_rounds():
    row = torch.from_numpy(np.random.default_rng(0).standard_normal(4097).astype(np.float32) ** 5)
    half = torch.empty(4097, dtype=torch.bfloat16)
    rounded = kernels.njit(lambda row, factor: kernels.hand_over(row, factor))
    rounded(row.numpy(), half.view(torch.uint16).numpy())
    assert torch.equal(half, row.bfloat16())


def test_what_cannot_be_kept_on_disk_is_compiled_for_this_process():
    def double(array):
        array *= 2

    kernel = compiled.Compiled(double)
    kernel.call = None  # what a damaged file in the cache or a full disk does: the call fails before it begins
    array = np.ones(3)
    kernel(array)
    assert array.tolist() == [2, 2, 2]


# --- recordings (of accelerators; here of the processor, by a stand-in that runs again what a graph would replay) ------


@pytest.mark.parametrize("name", ["t1", "pdh", "published precision"])
def test_recordings_follow_images_masks_synapses_and_precision(name, monkeypatch):
    monkeypatch.setattr(cuda_graph, "record", run_again)
    network, x = pair(VARIANTS[name], [12, 8, 16], 10, 37, torch.float32)
    observed = torch.from_numpy((np.random.default_rng(0).random(x.shape) < 0.5).astype(np.float32))
    kept = []
    for batch, mask in ((x, None), (1 - x, None), (x, observed), (x, 1 - observed), (x, None)):
        state = cuda_graph.settle(network, *network.observations(batch, mask), 9)
        kept.append((state, network.settle_plainly(batch, mask, 9)))
        updates = network.local_updates(state)
        for bundle, update in updates.items():
            network.parameters[bundle].add_(update, alpha=0.01) if bundle in network.parameters else None
        network.adapt_precision(updates)
        network.limit_norms()
    for state, plain in kept:  # (each in memory of its own)
        require_same(state, plain, 1e-6, 1e-5)
        assert all((state.e[l] is state.r[l]) == (plain.e[l] is plain.r[l]) for l in range(len(plain.e)))
    assert len(network.recordings) == 2


def test_what_cannot_be_recorded_is_settled_without(monkeypatch):
    def fail(run):
        raise RuntimeError("no graphs here")

    monkeypatch.setattr(cuda_graph, "record", fail)
    network, x = pair(VARIANTS["pdh"], [12, 8, 16], 10, 37, torch.float64)
    with pytest.warns(UserWarning, match="not recorded.*no graphs here"):
        cuda_graph.settle(network, *network.observations(1 - x), 9)
    require_same(cuda_graph.settle(network, *network.observations(x), 9), network.settle_plainly(x, None, 9), 1e-11, 1e-9)


@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler is there")
def test_compiled_steps_are_the_plain_ones(monkeypatch):
    """More networks than torch compiles of one function (8), each for all sizes of batch, with steps that grow."""
    monkeypatch.setattr(cuda_graph, "record", run_again)
    torch._dynamo.reset()
    for name in ["momentum", "pdh", "growth"] + ["t1"] * 8:
        network, x = pair(VARIANTS[name], [12, 8, 16], 10, 37, torch.float32)
        network.compile_steps = True
        torch._dynamo.utils.counters.clear()
        for batch in (x, x[:9]):
            state = cuda_graph.settle(network, *network.observations(batch), 9)
            require_same(state, network.settle_plainly(batch, None, 9), 1e-5, 1e-4)
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1 and network.compile_steps


def test_what_cannot_be_compiled_is_settled_without(monkeypatch):
    def fail(*_):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(cuda_graph, "record", run_again)
    monkeypatch.setattr(cuda_graph, "compiled_step", lambda network: fail)
    network, x = pair(VARIANTS["pdh"], [12, 8, 16], 10, 37, torch.float64)
    network.compile_steps = True
    with pytest.warns(UserWarning, match="not compiled.*no compiler here"):
        state = cuda_graph.settle(network, *network.observations(x), 9)
    require_same(state, network.settle_plainly(x, None, 9), 1e-11, 1e-9)


def test_plain_settling_with_bfloat16_products_stays_near_float32():
    network, x = pair(VARIANTS["pdh"], [96, 64, 64], 80, 64, torch.float32)
    exact = network.settle_plainly(x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network.settle_plainly(x)
    assert all(t.dtype == torch.float32 for t in (*rounded.z, *rounded.mu, *rounded.r, *rounded.e))
    assert 0 < (rounded.mu[0] - exact.mu[0]).abs().mean() < 0.01


# --- the stopping rule ------------------------------------------------------------------------------------------------


def contraction(tolerance: float, steps: int) -> tuple[GNCN, torch.Tensor]:
    """One linear layer with strong leak: a contraction, whose fixed point is the ridge solution."""
    settle = SettleConfig(steps=steps, beta=0.2, gamma=0.5, tolerance=tolerance)
    config = GNCNConfig(activation="identity", prediction="identity", likelihood="gaussian", error_synapses="tied", derivative=True, settle=settle)
    return pair(config, [6], 9, 20, torch.float64)


def test_it_stops_at_the_fixed_point():
    network, x = contraction(1e-8, 5000)
    W = network.parameters["W1"]
    fixed = x @ W.T @ torch.linalg.inv(W @ W.T + 0.5 * torch.eye(6, dtype=torch.float64))
    for state in (network.settle(x), network.settle_plainly(x)):
        assert state.steps < 500 and not state.moving
        torch.testing.assert_close(state.z[1], fixed, atol=1e-6, rtol=1e-6)


def test_it_does_not_stop_before():
    """At the step where it stops every image's relative change is within the tolerance; one step earlier some image's is not."""
    network, x = contraction(1e-3, 5000)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # one part: the rule looks at all images
    try:
        K = network.settle(x).steps
        network.config.settle.tolerance = 0.0
        z = [network.settle(x, steps=k).z[1] for k in (K - 2, K - 1, K)]
    finally:
        torch.set_num_threads(before)
    change = [((new - old).norm(dim=1) / new.norm(dim=1)).max().item() for old, new in zip(z, z[1:])]
    assert change[0] > 1e-3 >= change[1]


def test_it_gives_up_after_k_where_there_is_no_fixed_point():
    network, x = contraction(1e-12, 40)
    network.config.settle.gamma = -0.5  # a leak of the wrong sign: the states grow without bound
    for state in (network.settle(x), network.settle_plainly(x)):
        assert state.steps == 40 and state.moving


def test_without_a_tolerance_all_steps_are_taken():
    network, x = contraction(0.0, 300)
    assert network.settle(x).steps == 300 and not network.settle(x).moving
