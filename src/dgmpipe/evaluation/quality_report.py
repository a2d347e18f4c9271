"""What the classifier says of a generator's images."""

from typing import Any

import pandas as pd

from dgmpipe.errors import UserError
from dgmpipe.evaluation.quality import sample_quality
from dgmpipe.evaluation.samples import evaluated_images
from dgmpipe.evaluation.subject import Subject
from dgmpipe.models.classifier import Classifier
from dgmpipe.models.storage import load_model

__all__ = ["evaluate_quality"]


def evaluate_quality(
    subject: Subject, *, num_images: int, num_neighbours: int, **settings: Any
) -> dict[str, Any]:
    """Return the `numbers` of `sample_quality`, and how many images are taken for each digit.

    Raises:
        UserError: If there are too few test images for the neighbours.
    """
    test = subject.intensities("t10k")
    if num_neighbours >= len(test):
        raise UserError(
            f"evaluation.quality.num_neighbours must be less than the {len(test):,} test images,"
            f" not {num_neighbours:,}"
        )
    assert subject.judge is not None
    judge = load_model(subject.judge)
    assert isinstance(judge, Classifier)
    quality = sample_quality(
        evaluated_images(subject, num_images),
        test,
        subject.intensities("train"),
        judge,
        num_neighbours=num_neighbours,
        test_clusters=subject.test_clusters(len(test)),
        **settings,
    )
    counts = {"generated": quality.classes.generated, "test": quality.classes.real}
    return {"numbers": quality.numbers, "classes": pd.DataFrame(counts).rename_axis("digit")}
