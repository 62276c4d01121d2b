"""ncf-export: a checkpoint's weights as safetensors, or its projection from top activities to an image as ONNX."""

import argparse
import io
import json
import sys
import warnings
from pathlib import Path

import torch

from ncf.charsets import print_losslessly
from ncf.config.parser import Parser
from ncf.errors import UserError
from ncf.models import restore
from ncf.runs import checkpoint
from ncf.runs.files import write_whole


def main() -> None:
    from ncf.cli import report_error

    print_losslessly()
    try:
        print(f"written: {export(arguments())}")
    except BaseException as error:
        sys.exit(report_error("export", error))


def arguments() -> argparse.Namespace:
    parser = Parser("ncf-export", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="a checkpoint (best.pt), or its run folder")
    parser.add_argument("--format", choices=("safetensors", "onnx"), default="safetensors", help="default: safetensors")
    parser.add_argument("--output", type=Path, help="the file to write; else next to the checkpoint")
    return parser.parse_args()


def export(given: argparse.Namespace) -> Path:
    place = Path(str(given.checkpoint).removeprefix("checkpoint="))  # as the other commands have it
    path = checkpoint.locate(place)
    content = checkpoint.load(path)
    try:
        data = safetensors_of(content) if given.format == "safetensors" else onnx_of(path)
    except ImportError as error:
        raise UserError(f"--format {given.format}: the package {error.name} is not installed; pip install 'ncf[export]'") from error
    target = given.output or path.with_suffix(f".{given.format}")
    try:
        write_whole(target, data)
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror or error}); give --output=FILE") from error
    return target


def safetensors_of(content: dict) -> bytes:
    """The tensors under their names in the checkpoint; config and data as JSON in the metadata."""
    from safetensors.torch import save

    told = {name: json.dumps(content[name]) for name in ("config", "data", "versions", "progress")}
    return save({name: tensor.contiguous() for name, tensor in content["weights"].items()}, metadata=told)


def onnx_of(path: Path) -> bytes:
    """Activities of the top, (N, J_top), to the image mu_0, (N, height, width)."""
    import onnx

    restored = restore(path, device="cpu")
    network = restored.network
    if "project" not in network.abilities:
        raise UserError(f"checkpoint {path}: {restored.config.model.name} has no projection from top activities to an image")
    module = Projection(network, restored.image_shape).eval()
    f_top, buffer = torch.zeros(2, network.code_size), io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is called legacy
        torch.onnx.export(
            module, (f_top,), buffer, dynamo=False, input_names=["f_L"], output_names=["image"], dynamic_axes={"f_L": {0: "N"}, "image": {0: "N"}}
        )
    onnx.checker.check_model(onnx.load_from_string(buffer.getvalue()))
    return buffer.getvalue()


class Projection(torch.nn.Module):
    """A network's projection as torch's exporter takes it."""

    def __init__(self, network, shape: tuple[int, int]):
        super().__init__()
        self.network, self.shape = network, shape

    def forward(self, f_top: torch.Tensor) -> torch.Tensor:
        return self.network.project(f_top).reshape(-1, *self.shape)
