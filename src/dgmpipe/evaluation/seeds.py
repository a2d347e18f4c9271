"""What several seeds of one model have in common, and how far they lie apart."""

import pandas as pd

__all__ = ["mean_and_deviation"]


def mean_and_deviation(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row a model: the number of seeds, then each column's mean and standard deviation.

    The standard deviation is that of a sample, with n − 1, and missing for a single seed.

    Args:
        table: Has the columns `model` and `seed` and numbers in all others.

    Example:
        >>> table = pd.DataFrame({"model": ["a", "a"], "seed": [0, 1], "loss": [1.0, 3.0]})
        >>> mean_and_deviation(table).round(3).to_dict("records")
        [{'model': 'a', 'seeds': 2, 'loss_mean': 2.0, 'loss_sd': 1.414}]
    """
    groups = table.groupby("model", sort=False)
    numbers = groups[[c for c in table.columns if c not in ("model", "seed")]]
    statistics = numbers.agg(["mean", "std"]).rename(columns={"std": "sd"}, level=1)
    statistics.columns = ["_".join(pair) for pair in statistics.columns]
    statistics.insert(0, "seeds", groups.size())
    return statistics.reset_index()
