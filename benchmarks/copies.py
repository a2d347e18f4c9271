"""What `copied_share` can find: changed copies of training images, and the share that it finds.

    python benchmarks/copies.py results/data/mnist

prints a table in Markdown; docs/errors.md has it.
"""

import argparse
from collections.abc import Iterator

import torch
from scipy import ndimage
from torch import Tensor

from dgmpipe.data.batches import to_float
from dgmpipe.data.mnist import evenly_spread, load_mnist
from dgmpipe.evaluation.quality import memorisation
from dgmpipe.streams import random_stream


def changed(
    images: Tensor, others: Tensor, stream: torch.Generator
) -> Iterator[tuple[str, Tensor]]:
    """Yield copies of images (N, 28, 28) that were changed in one way or another."""
    yield "none", images
    for size in (0.05, 0.1, 0.15, 0.2):
        noise = size * torch.randn(images.shape, generator=stream)
        yield f"normal noise of {size}", (images + noise).clamp(0, 1)
    yield "shifted by half a pixel", (images + images.roll(1, 2)) / 2
    yield "shifted by a pixel", images.roll(1, 2)
    for size in (0.5, 0.7, 1.0):
        blurred = torch.from_numpy(ndimage.gaussian_filter(images.numpy(), (0, size, size)))
        yield f"blurred by {size} pixels", blurred
    for share in (0.1, 0.2, 0.3, 0.4):
        yield f"{share:.0%} of another image mixed in", (1 - share) * images + share * others
    for factor in (0.8, 0.6):
        yield f"{factor} times as bright", factor * images


def shares(
    training: Tensor, test: Tensor, count: int, seed: int = 0
) -> Iterator[tuple[str, float]]:
    """Yield each change and the share of `count` changed training images that is found."""
    stream = random_stream(seed, "copies")
    chosen, others = training[torch.randperm(len(training), generator=stream)[: 2 * count]].split(
        count
    )
    known = training.flatten(1)
    spread = test[evenly_spread(min(count, len(test)), len(test))].flatten(1)
    for change, images in changed(chosen, others, stream):
        found = memorisation(images.flatten(1), spread, known)
        yield change, found.copied_share
    yield "test images", found.test_copied_share


def main() -> None:
    parser = argparse.ArgumentParser(description="What copied_share can find.")
    parser.add_argument("folder", help="of the four IDX files")
    parser.add_argument("--count", type=int, default=400)
    args = parser.parse_args()
    training, test = (
        to_float(load_mnist(args.folder, split)[0])[:, 0] for split in ("train", "t10k")
    )
    print("| change of a copy | found |\n|---|---|")
    for change, share in shares(training, test, args.count):
        print(f"| {change} | {share:.1%} |", flush=True)


if __name__ == "__main__":
    main()
