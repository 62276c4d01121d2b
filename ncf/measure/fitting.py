"""What is fitted to top activities by scikit-learn: quietly, within our threads and memory, and with one-line refusals."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ncf.config.schema import MixtureConfig
from ncf.errors import UserError
from ncf.network.mixture import LATENTS_PER_COMPONENT, Mixture, fit_mixture
from ncf.runs import memory


class CannotFit(UserError):
    """Nothing can be fitted to what a network has learned: its other metrics can be measured all the same."""


@contextmanager
def quiet_fit() -> Iterator[None]:
    """Scikit-learn within our number of threads, its warnings off and its refusals as a UserError."""
    from threadpoolctl import threadpool_limits

    silence = redirect_stderr(io.StringIO())  # joblib prints a traceback where it cannot count the cores (no /sys)
    with warnings.catch_warnings(), threadpool_limits(torch.get_num_threads()), silence:
        warnings.simplefilter("ignore")
        try:
            yield
        except (ValueError, torch.linalg.LinAlgError) as error:
            raise CannotFit(f"what the network has learned cannot be fitted: {error}") from error


def fit_prior(codes: Tensor, wanted: MixtureConfig) -> Mixture:
    """The mixture of Gaussians fitted to top activities (N, J_L). UserError where they are not finite or too many for the memory."""
    require_room(codes.shape[1], len(codes), wanted)
    if not torch.isfinite(codes).all():
        raise CannotFit(
            "the training images' top activities are not finite, so no prior can be fitted to them: lower beta of ncf-eval (in training model.settle.beta)"
        )
    try:
        with quiet_fit():
            return fit_mixture(codes, wanted.components, wanted.floor, seed=0, shrinkage=wanted.shrinkage)
    except CannotFit as error:
        if "ill-defined" not in str(error):
            raise
        raise CannotFit(
            f"no mixture can be fitted to the top activities of {len(codes)} training images: a component collapses; "
            "raise metrics.mixture.floor (say 1e-3), or lower metrics.mixture.components"
        ) from error


def require_room(units: int, images: int, wanted: MixtureConfig) -> None:
    """UserError where the mixture's covariances over so many units of the top do not fit into memory."""
    most = max(1, min(wanted.components, images // LATENTS_PER_COMPONENT))
    memory.require(4 * 8 * most * units**2, f"the mixture over {units:,} top activities", "lower the last of model.layers")


PENALTIES = (100.0, 10.0, 1.0, 0.1, 0.01)
USUAL_PENALTY = 1.0  # where no validation image has a class
TOLERANCE = 1e-5


@dataclass
class Regression:
    """A multinomial logistic regression: the classes (N,) that it tells of features (N, J), and the L2 penalty it was fitted with."""

    model: Any
    penalty: float

    def tell(self, features: Tensor) -> Tensor:
        return torch.from_numpy(self.model.predict(features.double().cpu().numpy())).to(features.device)


def fit_classifier(
    known: tuple[Tensor, Tensor],
    judges: tuple[Tensor, Tensor] | None,
    penalty: float | None,
    penalties: Sequence[float] = PENALTIES,
) -> Regression:
    """The multinomial logistic regression from features (N, J) to classes (N,) that scikit-learn finds: the least

        sum over n of -log p(y_n | features_n) + penalty / 2 |W|^2

    `penalty` None: the one of `penalties` that is wrong of the fewest `judges`, the largest such; without judges USUAL_PENALTY. Features are centred while it is
    sought: their mean is worth what the biases take up, which no penalty holds, so the least is the same, and it is found in far fewer iterations. It is
    sought until no derivative of the mean over images is above TOLERANCE; scikit-learn's own, ten times as large, leaves %Err up to 0.2 points off.
    """
    from sklearn.linear_model import LogisticRegression

    features, y = known[0].double().cpu().numpy(), known[1].cpu().numpy()
    centre = features.mean(0)
    features = features - centre

    def fitted(strength: float) -> Regression:
        model = LogisticRegression(C=1 / strength, max_iter=2000, tol=TOLERANCE).fit(features, y)
        model.intercept_ -= model.coef_ @ centre
        return Regression(model, strength)

    with quiet_fit():
        if penalty is not None or judges is None:
            return fitted(penalty or USUAL_PENALTY)
        return min(map(fitted, penalties), key=lambda found: (found.tell(judges[0]) != judges[1]).sum().item())
