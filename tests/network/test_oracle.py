"""The oracle: all four models against measured vectors of the original system, step by step.

tests/golden holds the small ones; ``NCF_ORACLE=FOLDER`` runs the same tests on every .npz of another folder.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from ncf.config.schema import ConstraintConfig, GNCNConfig, LateralConfig, OptimizerConfig, PrecisionConfig, PriorConfig, SettleConfig
from ncf.network.discrepancy import bce, tod
from ncf.network.gncn import GNCN
from ncf.network.optimizer import Optimizer
from ncf.training import train_step

FOLDER = Path(os.environ.get("NCF_ORACLE", Path(__file__).parent / "golden"))
FILES = sorted(FOLDER.glob("*.npz"))


def ncf_name(name: str) -> str:
    """W1, E1, Sigma1 as they are; S2 is M2; Prec1 is Q1."""
    if name.startswith("Prec"):
        return "Q" + name[4:]
    return "M" + name[1:] if name[0] == "S" and name[1].isdigit() else name


class Oracle:
    """One file: its vectors, its tolerances and the network it describes."""

    def __init__(self, path: Path):
        self.path = path
        self.model, self.size = path.stem.rsplit("_", 1)
        self.v = dict(np.load(path))
        self.parting = self.model == "t1_sigma" and self.size == "full"  # discontinuous at z = 0: samples may part
        self.prefix = "live_" if "live_bce" in self.v else ""

    def config(self) -> GNCNConfig:
        v, t1 = self.v, self.model.startswith("t1")
        tanh = str(v["cfg_act_fx"]) == "tanh"
        return GNCNConfig(
            layers=[int(v["cfg_z_dim"])] * 2 + [int(v["cfg_z_top_dim"])],
            activation=str(v["cfg_act_fx"]),
            prediction="identity" if t1 else "relu",
            target="state" if t1 else "activity",
            error_synapses="tied" if t1 else "learned",
            derivative=t1,
            skips=self.model == "pdh",
            prior=PriorConfig(kind="laplace" if t1 else "none", strength=float(v["cfg_lmbda"])),
            lateral=LateralConfig(
                enabled=not t1,
                columns=[int(v["cfg_n_group"])] * 2 + [int(v["cfg_n_top_group"])],
                self_excitation=float(v["cfg_alpha_scale"]),
                inhibition=float(v["cfg_beta_scale"]),
            ),
            precision=PrecisionConfig(kind="none" if tanh else "whitened"),
            constraint=ConstraintConfig(kind="limit"),
            settle=SettleConfig(steps=int(v["cfg_K"]), beta=float(v["cfg_beta"]), gamma=float(v["cfg_leak"])),
        )

    def network(self) -> GNCN:
        network = GNCN(self.config(), int(self.v["cfg_x_dim"]), np.random.default_rng(0))
        network.load_tensors({name: torch.from_numpy(self.v[self.oracle_name(name)]) for name in network.tensors()})
        return network

    def oracle_name(self, name: str) -> str:
        if name[0] == "Q":
            return "Prec" + name[1:]
        return "S" + name[1:] if name[0] == "M" else name

    def x(self) -> torch.Tensor:
        return torch.from_numpy(self.v["x"]).float()

    def close(self, actual: torch.Tensor, name: str, atol: float = 1e-5) -> None:
        expected = torch.from_numpy(np.asarray(self.v[name]))
        worst = (actual - expected).abs().max().item()
        assert worst <= atol, f"{self.path.stem} {name}: {worst:.2e} > {atol:.0e}"

    def rows_close(self, actual: torch.Tensor, name: str) -> None:
        """Per-sample entries (B, ...): all within 1e-5, but where the model is discontinuous up to 3 samples within 2e-2."""
        expected = torch.from_numpy(self.v[name])
        worst = (actual - expected).abs().reshape(len(expected), -1).amax(1)
        if self.parting:
            assert (worst > 1e-5).sum() <= 3 and worst.max() <= 2e-2, f"{self.path.stem} {name}: {worst}"
        else:
            assert worst.max() <= 1e-5, f"{self.path.stem} {name}: {worst.max():.2e}"

    def matrix_close(self, actual: torch.Tensor, name: str, atol: float = 1e-5) -> None:
        """A matrix: whole where the file has it, else by the norm, the subset and the row and column sums that it has."""
        actual = actual.double()
        checked = 0
        if name in self.v:
            self.close(actual, name, atol)
            checked += 1
        if f"{name}_fro" in self.v:
            expected = float(self.v[f"{name}_fro"])
            assert actual.norm().item() == pytest.approx(expected, rel=1e-5 if atol <= 1e-5 else 1e-3), f"{self.path.stem} {name}_fro"
            checked += 1
        if f"{name}_sub" in self.v:
            self.close(actual[3::7, 2::5], f"{name}_sub", atol)
            checked += 1
        for axis, sums in ((1, "rowsum"), (0, "colsum")):
            if f"{name}_{sums}" in self.v:
                self.close(actual.sum(axis), f"{name}_{sums}", 1e-4 if atol <= 1e-5 else 0.1)
                checked += 1
        assert checked, f"{self.path.stem} has no entry for {name}"


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def oracle(request) -> Oracle:
    return Oracle(request.param)


def test_the_folder_holds_all_four_models():
    assert {path.stem.rsplit("_", 1)[0] for path in FILES} == {"t1", "t1_sigma", "t2_lsigma", "pdh"}


def settled_entries(oracle: Oracle, state, suffix: str = "") -> None:
    for l in range(1, 4):
        oracle.rows_close(state.z[l], f"z{l}{suffix}")
        oracle.rows_close(state.f[l], f"phi_z{l}{suffix}")
    for l in range(3):
        oracle.rows_close(state.mu[l], f"mu{l}{suffix}")
        oracle.rows_close(state.r[l], f"e{l}_raw{suffix}")
        oracle.rows_close(state.e[l], f"e{l}{suffix}")
        total = state.r[l].double().square().sum().item()
        rel = 2e-4 if oracle.parting else 1e-5
        assert total == pytest.approx(float(oracle.v[f"L{l}{suffix}"]), rel=rel, abs=1e-5 if oracle.size != "full" else 0)


def test_oracle_settles_step_by_step(oracle):
    network = oracle.network()
    for k in (1, 2, 3):
        if f"z1_K{k}" not in oracle.v:
            pytest.skip("full-size files hold the last step alone")
        state = network.settle(oracle.x(), steps=k)
        for l in range(1, 4):
            oracle.rows_close(state.z[l], f"z{l}_K{k}")
        for l in range(3):
            oracle.rows_close(state.e[l], f"e{l}_K{k}")


def test_oracle_settled_state_and_errors(oracle):
    settled_entries(oracle, oracle.network().settle(oracle.x()))


def test_oracle_bce_per_image(oracle):
    actual = bce(oracle.network().settle(oracle.x())).double()
    expected = torch.from_numpy(oracle.v["bce_per_sample"]).double()
    assert torch.allclose(actual, expected, rtol=2e-4 if oracle.parting else 1e-5, atol=1e-5)


def test_oracle_local_updates(oracle):
    network = oracle.network()
    updates = network.local_updates(network.settle(oracle.x()))
    assert set(updates) == {ncf_name(str(name)) for name in oracle.v["theta_order"]}
    for name, update in updates.items():
        oracle.matrix_close(-update, f"delta_{oracle.oracle_name(name)}", 5e-3 if oracle.parting else 1e-5)


def test_oracle_ancestral_projection(oracle):
    network = oracle.network()
    z_top = torch.from_numpy(oracle.v["proj_z"])
    f_top = network.phi[-1].value(z_top, out=torch.empty_like(z_top))
    oracle.close(network.project(f_top), "proj_x")


def test_oracle_lateral_matrix(oracle):
    if "V1_coeff" not in oracle.v:
        pytest.skip("this model has no lateral synapses")
    from ncf.network.gncn import lateral

    config = oracle.config()
    for l, column in enumerate(config.lateral.columns, start=1):
        unit = torch.eye(config.layers[l - 1])
        dense = lateral(unit, column, config.lateral.self_excitation, config.lateral.inhibition)
        if f"V{l}" in oracle.v:
            oracle.close(dense, f"V{l}", 1e-7)
        else:
            oracle.close(dense[:36, :36], f"V{l}_block", 1e-7)
            assert dense.double().norm().item() == pytest.approx(float(oracle.v[f"V{l}_fro"]), rel=1e-5)


def test_oracle_five_updates(oracle):
    """Settle, all deltas, Adam on all, precision step, norm limit; five times on one batch, BCE and ToD before each and after."""
    network = oracle.network()
    optimizer = Optimizer(OptimizerConfig(epsilon=float(oracle.v["adam_epsilon"])), network.parameters)
    rel = 2e-4 if oracle.parting else 1e-5
    for t in range(6):
        state = train_step(network, optimizer, oracle.x()) if t < 5 else network.settle(oracle.x())
        assert bce(state).mean().item() == pytest.approx(oracle.v[oracle.prefix + "bce"][t], rel=rel), f"bce after {t} updates"
        assert tod(state).mean().item() == pytest.approx(oracle.v[oracle.prefix + "tod"][t], rel=rel), f"tod after {t} updates"
        if t == 5:
            break
        if t in (0, 4):
            for name, tensor in network.tensors().items():
                oracle.matrix_close(tensor, f"{oracle.prefix}step{t + 1}_{oracle.oracle_name(name)}", 5e-3 if oracle.parting else 1e-5)
    if "z1_t5" in oracle.v and not oracle.prefix:
        settled_entries(oracle, state, "_t5")
