"""Which diagnostic sees a collapse, and in how many images? The tables of docs/gans.md.

    python benchmarks/collapse.py IMAGES JUDGE [MODEL ...]

A planted collapse is a generator that knows K training images, and draws one of them at random
each time. A perfect one draws test images, of writers other than those of the test images that it
is compared with. A diagnostic sees a collapse in a sample of n images if it is worse there than in
each of nine samples by the perfect generator.
"""

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dgmpipe.data.batches import to_float
from dgmpipe.data.images import load_images
from dgmpipe.evaluation.quality import class_histogram, compare_features, memorisation
from dgmpipe.evaluation.transport_report import independent_halves
from dgmpipe.models.classifier import Classifier
from dgmpipe.models.storage import load_model
from dgmpipe.statistics.clusters import Clusters
from dgmpipe.statistics.collisions import birthday_test
from dgmpipe.statistics.energy import energy_distance
from dgmpipe.statistics.frechet import frechet_distance
from dgmpipe.statistics.transport import debiased, exact_transport
from dgmpipe.streams import random_stream

# The last are all, which is no collapse.
KNOWN = (10, 100, 1000, 5000, 60_000)
SIZES = (100, 500, 2000)
PERFECT = 9
# Of a sample, whose nearest training images are searched for.
SEARCHED = 100

# Whether more of a diagnostic is worse.
WORSE = {
    "energy distance": True,
    "Wasserstein distance": True,
    "Fréchet distance": True,
    "digits' variation": True,
    "precision": False,
    "recall": False,
    "coverage": False,
    "copies": True,
    "equal pairs": True,
}


def planted(training: Tensor, known: int, n: int, stream: torch.Generator) -> Tensor:
    """Return `n` images of a generator that knows `known` of the training images (T, ...)."""
    chosen = torch.randperm(len(training), generator=stream)[:known]
    return training[chosen[torch.randint(known, (n,), generator=stream)]]


def diagnose(
    images: Tensor, reference: Tensor, training: Tensor, classifier: Classifier
) -> dict[str, float]:
    """Return every diagnostic of a sample (n, H, W) against as many real images."""
    n, half = len(images), len(images) // 2
    x, y = images.flatten(1), reference.flatten(1)
    with torch.no_grad():
        seen, known = (
            torch.cat([classifier.features(some) for some in part[:, None].split(500)])
            for part in (images, reference)
        )
        logits, real = classifier.output(seen), classifier.output(known)
    features = compare_features(seen, known)
    found = birthday_test(x, y)
    few = min(n, SEARCHED)
    transport = debiased(exact_transport, (x[:half], x[half:]), (y[:half], y[half:]))
    return {
        "energy distance": energy_distance(x, y).value,
        "Wasserstein distance": transport.value,
        "Fréchet distance": frechet_distance(seen, known),
        "digits' variation": class_histogram(logits, real).total_variation,
        "precision": features.precision,
        "recall": features.recall,
        "coverage": features.coverage,
        "copies": memorisation(x[:few], y[:few], training.flatten(1)).copied_share,
        "equal pairs": found.pairs,
        "support": found.support,
    }


def sees(name: str, value: float, perfect: list[float]) -> bool:
    """Return whether a value of a diagnostic is worse than those of perfect samples."""
    return value > max(perfect) if WORSE[name] else value < min(perfect)


def rows(
    training: Tensor,
    test: tuple[Tensor, Tensor],
    classifier: Classifier,
    sizes: tuple[int, ...],
    others: dict[str, Callable[[int], Tensor]],
) -> Iterator[dict[str, object]]:
    """Yield a row for each sample and size: all diagnostics of it, and which are seen as worse.

    Args:
        training: Training images (T, H, W).
        test: Reference and perfect generator's images, (M, H, W) each.
        classifier: The judge.
        sizes: Of samples, at most M.
        others: Further generators by name, which make a number of images.
    """
    for n in sizes:
        stream = random_stream(n, "collapse")
        reference = test[0][torch.randperm(len(test[0]), generator=stream)[:n]]
        perfect = [
            test[1][torch.randperm(len(test[1]), generator=stream)[:n]] for _ in range(PERFECT)
        ]
        good = [diagnose(images, reference, training, classifier) for images in perfect]
        yield {"generator": "perfect", "n": n} | {
            name: float(np.mean([found[name] for found in good])) for name in WORSE
        }
        samples = {f"{known:,}": planted(training, known, n, stream) for known in KNOWN}
        samples |= {name: draw(n) for name, draw in others.items()}
        for name, images in samples.items():
            found = diagnose(images, reference, training, classifier)
            seen = [k for k in WORSE if sees(k, found[k], [one[k] for one in good])]
            yield {"generator": name, "n": n, **found, "seen by": ", ".join(seen)}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", help="folder of MNIST's files")
    parser.add_argument("judge", help="folder of a trained classifier")
    parser.add_argument("models", nargs="*", help="folders of trained generators")
    arguments = parser.parse_args()
    training, test = (
        to_float(load_images(arguments.images, split)[0]).squeeze(1) for split in ("train", "t10k")
    )
    first, second = independent_halves(Clusters.in_order(len(test), 125, strata=2), 5000)
    judge = load_model(arguments.judge)
    assert isinstance(judge, Classifier)
    others = {
        path: lambda n, path=path: load_model(path).sample(n, seed=0).squeeze(1)
        for path in arguments.models
    }
    for row in rows(training, (test[first], test[second]), judge, SIZES, others):
        print(pd.Series(row).to_json(force_ascii=False), flush=True)


if __name__ == "__main__":
    main()
