"""The energy test of a generator's images against the test images."""

from dgmpipe.evaluation.energy import energy_test
from dgmpipe.evaluation.samples import evaluated_images
from dgmpipe.evaluation.subject import Subject

__all__ = ["evaluate_energy"]


def evaluate_energy(
    subject: Subject, *, num_images: int, num_permutations: int, num_floor_draws: int
) -> dict[str, dict[str, float]]:
    """Return the `numbers` of an energy test of `num_images` images against all test images."""
    result = energy_test(
        evaluated_images(subject, num_images),
        subject.intensities("t10k"),
        num_permutations=num_permutations,
        seed=subject.seed,
    )
    numbers = {
        "energy_distance": result.energy_distance,
        "standard_error": result.standard_error,
        "statistic": result.statistic,
        "pvalue": result.pvalue,
        "null_95": result.null_energy_distance.quantile(0.95).item(),
    }
    return {"numbers": numbers}
