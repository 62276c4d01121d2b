"""A run's rows in the tools people watch: logger=tensorboard, wandb, mlflow, csv, or several. A logger that fails costs the run nothing."""

import csv
import hashlib
import importlib
import io
import os

from torch import Tensor

from ncf.config.schema import flatten, science
from ncf.errors import UserError
from ncf.runs.files import write_whole
from ncf.runs.run import Follower, Run

PACKAGES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb", "mlflow": "mlflow", "csv": "csv"}


def require(names: list[str]) -> None:
    """UserError where a logger that a config names is not installed."""
    for name in names:
        try:
            importlib.import_module(PACKAGES[name])
        except ImportError:
            raise UserError(f"logger={name}: the package {name} is not installed; pip install 'ncf[{name}]', or leave it out") from None


class Logger:
    """The rows of a run, the step being the epoch. What fails is said once, and the logger is left alone from then on."""

    name = ""

    def __init__(self, run: Run, first: int):
        """Epochs from `first` on that an earlier life of the run left behind did not happen."""
        self.run, self.writer = run, None
        self.attempt(self.open, first)

    def attempt(self, action, *arguments) -> None:
        try:
            action(*arguments)
        except Exception as error:
            self.run.say(f"warning: no more events for {self.name} ({error or type(error).__name__})")
            self.writer = None

    def epoch(self, row: dict, network, x: Tensor, image_shape: tuple[int, int]) -> None:
        """A row of metrics.jsonl, and validation images x for those who draw."""
        if self.writer:
            self.attempt(self.write, row, network, x, image_shape)

    def close(self) -> None:
        if self.writer:
            self.attempt(self.finish)


class Csv(Logger):
    """metrics.csv in the run folder: the rows of metrics.jsonl as a table."""

    name = "csv"

    def open(self, first: int) -> None:
        self.writer = self.run.folder / "metrics.csv"

    def write(self, row: dict, *_) -> None:
        rows = self.run.rows()
        text = io.StringIO()
        table = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_whole(self.writer, text.getvalue().encode())

    def finish(self) -> None:
        pass


class Wandb(Logger):
    """Weights & Biases, project WANDB_PROJECT (or ncf); its own variables (WANDB_MODE=offline, WANDB_ENTITY, ...) hold as they are."""

    name = "wandb"

    def open(self, first: int) -> None:
        import wandb

        mark = hashlib.sha256(str(self.run.folder.resolve()).encode()).hexdigest()[:16]  # the run that goes on is the same one there
        self.writer = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "ncf"),
            name=self.run.folder.name,
            id=mark,
            resume="allow",
            dir=str(self.run.folder),
            config=flatten(science(self.run.config)),
            settings=wandb.Settings(console="off", silent=True),
        )

    def write(self, row: dict, *_) -> None:
        self.writer.log(row, step=row["epoch"])

    def finish(self) -> None:
        self.writer.finish()


class Mlflow(Logger):
    """MLflow, experiment MLFLOW_EXPERIMENT_NAME (or ncf), where MLFLOW_TRACKING_URI says, else in OUTPUT_DIR/mlruns."""

    name = "mlflow"

    def open(self, first: int) -> None:
        from pathlib import Path

        from mlflow import MlflowClient

        if "MLFLOW_TRACKING_URI" not in os.environ:  # files need no server; MLflow asks to be told that they are wanted
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or (Path(self.run.config.output_dir) / "mlruns").resolve().as_uri())
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "ncf")
        experiment = client.get_experiment_by_name(name)
        experiment_id = experiment.experiment_id if experiment else client.create_experiment(name)
        folder = str(self.run.folder.resolve())
        known = client.search_runs([experiment_id], f"tags.folder = '{folder}'", max_results=1)
        if known:
            self.id = known[0].info.run_id
        else:
            self.id = client.create_run(experiment_id, run_name=self.run.folder.name, tags={"folder": folder}).info.run_id
            for key, value in flatten(science(self.run.config)).items():
                client.log_param(self.id, key, value)
        self.writer = client

    def write(self, row: dict, *_) -> None:
        for name, value in row.items():
            if name != "epoch":
                self.writer.log_metric(self.id, name, value, step=row["epoch"])

    def finish(self) -> None:
        self.writer.set_terminated(self.id)


class Loggers:
    """All loggers of a run; of a data-parallel one, rank 0's alone."""

    def __init__(self, run: Run, first: int):
        from ncf.report.tensorboard import Events

        kinds = {"tensorboard": Events, "wandb": Wandb, "mlflow": Mlflow, "csv": Csv}
        self.all = [kinds[name](run, first) for name in run.config.logger if not isinstance(run, Follower)]

    def epoch(self, *arguments) -> None:
        for logger in self.all:
            logger.epoch(*arguments)

    def close(self) -> None:
        for logger in self.all:
            logger.close()
