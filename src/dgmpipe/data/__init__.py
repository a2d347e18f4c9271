"""The data: two moons with their exact density, MNIST, and arrays and images of your own."""

from typing import TYPE_CHECKING

from dgmpipe.lazy import lazily

if TYPE_CHECKING:
    from dgmpipe.data.fetch import fetch_mnist
    from dgmpipe.data.files import load_array
    from dgmpipe.data.images import load_images
    from dgmpipe.data.mnist import load_mnist
    from dgmpipe.data.moons import MoonsDensity, sample_moons
    from dgmpipe.data.points import load_points

__all__ = [
    "MoonsDensity",
    "fetch_mnist",
    "load_array",
    "load_images",
    "load_mnist",
    "load_points",
    "sample_moons",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "MoonsDensity": "dgmpipe.data.moons",
        "fetch_mnist": "dgmpipe.data.fetch",
        "load_array": "dgmpipe.data.files",
        "load_images": "dgmpipe.data.images",
        "load_mnist": "dgmpipe.data.mnist",
        "load_points": "dgmpipe.data.points",
        "sample_moons": "dgmpipe.data.moons",
    },
)
