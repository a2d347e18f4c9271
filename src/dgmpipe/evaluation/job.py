"""What evaluates a trained model and writes what comes out."""

from collections.abc import Mapping
from typing import Any

import torch

from dgmpipe.evaluation.subject import Subject
from dgmpipe.files import load_function, write_results

__all__ = ["evaluate"]


def evaluate(
    function: str,
    subject: Mapping[str, Any],
    settings: Mapping[str, Any],
    outputs: Mapping[str, str],
    threads: int,
) -> None:
    """Evaluate a model and write the results.

    Args:
        function: Module and name of the evaluation.
        subject: Arguments of `Subject`.
        settings: Arguments of the evaluation by name.
        outputs: Files by the names of the results.
        threads: How many threads torch may use.
    """
    torch.set_num_threads(threads)
    write_results(load_function(function)(Subject(**subject), **settings), outputs)
