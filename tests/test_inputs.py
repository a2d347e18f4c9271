"""What users give in place of a tensor: the right value or one sentence, for every function.

Every public function that takes points or images meets every kind of input; likewise for whole
numbers, random streams and positive numbers.
"""

import contextlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from torch import Tensor

from dgmpipe.data import MoonsDensity, sample_moons
from dgmpipe.data.idx import idx_bytes
from dgmpipe.evaluation import energy_distance, energy_test, posterior_grid
from dgmpipe.evaluation.flows import (
    density_grid,
    energy_distance_to_normal,
    held_out_nll,
    inverse_error,
    latent_gaussianity,
)
from dgmpipe.evaluation.latent import aggregate_posterior, latent_structure
from dgmpipe.evaluation.posterior import elbo, log_evidence
from dgmpipe.evaluation.quality import (
    class_histogram,
    compare_features,
    memorisation,
    nearest_training_distances,
    rejected_share,
    sample_quality,
)
from dgmpipe.evaluation.samples import interpolate, sample_images
from dgmpipe.models import VAE, Discriminator, Encoder, Generator, OTFlow, RealNVP
from dgmpipe.models.approximation import DiagonalGaussian
from dgmpipe.models.classifier import Classifier
from dgmpipe.models.flow import Flow, Standardised, negative_log_likelihood
from dgmpipe.models.otflow import ot_flow_objective
from dgmpipe.statistics.energy import difference_standard_error
from dgmpipe.streams import random_stream, stream_seed

torch.manual_seed(0)
NVP, OT = RealNVP(2, 4), OTFlow(4, num_steps=2)
VAE_ = VAE(Encoder(2, 2), Generator(2, 2)).eval()
JUDGE, CLASSIFIER = Discriminator(2).eval(), Classifier(2).eval()
MOONS = MoonsDensity(0.5)


def _stream() -> torch.Generator:
    return torch.Generator().manual_seed(0)


# Numbers that every type here holds, so that every kind of input has the same result.
_random = np.random.default_rng(0)
POINTS = _random.integers(-4, 5, (6, 2)).astype(np.float32)
OTHERS = _random.integers(-4, 5, (5, 2)).astype(np.float32) + 1
AXIS = np.array([-1, 0, 2], np.float32)
IMAGES = _random.integers(0, 2, (3, 1, 28, 28)).astype(np.float32)
FLAT = IMAGES[:, 0]
BYTES = _random.integers(0, 256, (3, 28, 28), dtype=np.uint8)
_tensors = {name: torch.from_numpy(globals()[name]) for name in ("POINTS", "OTHERS", "IMAGES")}
_points, _others, _images = _tensors.values()
_flat = _images[:, 0]

Function = Callable[[Any], Any]


def _quality(**changes: Any) -> Any:
    samples = {"generated": _flat / 2, "test": 1 - _flat, "training": _flat.flip(0) / 4}
    found = sample_quality(**samples | changes, classifier=CLASSIFIER, num_neighbours=1)
    return list(found.numbers.values())


FUNCTIONS: dict[str, tuple[Function, np.ndarray]] = {
    "energy_test, x": (lambda v: energy_test(v, _others, num_permutations=9), POINTS),
    "energy_test, y": (lambda v: energy_test(_others, v, num_permutations=9), POINTS),
    "energy_test of numbers": (lambda v: energy_test(v, _others[:, 0], num_permutations=9), AXIS),
    "energy_test of images": (lambda v: energy_test(v, 1 - _images, num_permutations=9), IMAGES),
    "energy_test of bytes": (lambda v: energy_test(v, BYTES // 2, num_permutations=9), BYTES),
    "energy_distance, x": (lambda v: energy_distance(v, _others), POINTS),
    "energy_distance, y": (lambda v: energy_distance(_others, v), POINTS),
    "MoonsDensity.log_prob": (lambda v: MOONS.log_prob(v).float(), POINTS),
    **{
        f"{type(flow).__name__}.{method}": (getattr(flow, method), POINTS)
        for flow in (NVP, OT)
        for method in ("forward", "inverse", "log_prob", "hidden_states")
    },
    "OTFlow.integrate": (lambda v: OT.integrate(v, reverse=False), POINTS),
    "negative_log_likelihood": (lambda v: negative_log_likelihood(NVP, v), POINTS),
    "ot_flow_objective": (lambda v: ot_flow_objective(OT, v, num_steps=1), POINTS),
    "held_out_nll": (lambda v: held_out_nll(NVP, v, MOONS.log_prob, batch_size=9), POINTS),
    "density_grid, x": (lambda v: density_grid(NVP, v, torch.arange(2.0)), AXIS),
    "density_grid, y": (lambda v: density_grid(NVP, torch.arange(2.0), v), AXIS),
    "inverse_error": (lambda v: inverse_error(OT, v), POINTS),
    "latent_gaussianity": (
        lambda v: vars(latent_gaussianity(NVP, v, _stream(), num_null=3)),
        POINTS,
    ),
    "energy_distance_to_normal": (energy_distance_to_normal, POINTS),
    "aggregate_posterior, z": (
        lambda v: aggregate_posterior([DiagonalGaussian(_others, _others)], v),
        POINTS,
    ),
    "compare_features, x": (
        lambda v: vars(compare_features(v, _others, num_neighbours=2)),
        POINTS,
    ),
    "compare_features, y": (
        lambda v: vars(compare_features(_others, v, num_neighbours=2)),
        POINTS,
    ),
    "class_histogram, x": (lambda v: vars(class_histogram(v, _others)), POINTS),
    "class_histogram, y": (lambda v: vars(class_histogram(_others, v)), POINTS),
    "rejected_share": (rejected_share, POINTS),
    "memorisation, generated": (
        lambda v: vars(memorisation(v, _others + 0.5, _others)),
        POINTS,
    ),
    "memorisation, test": (lambda v: vars(memorisation(_others, v, _others + 0.5)), POINTS),
    "memorisation, training": (lambda v: vars(memorisation(_others, _others + 0.5, v)), POINTS),
    "nearest_training_distances, x": (lambda v: nearest_training_distances(v, _others), POINTS),
    "nearest_training_distances, y": (lambda v: nearest_training_distances(_others, v), POINTS),
    "Generator.forward": (VAE_.generator, POINTS),
    "Generator.logits": (VAE_.generator.logits, POINTS),
    "VAE.log_likelihood, z": (lambda v: VAE_.log_likelihood(v, _images[:1]), POINTS),
    "VAE.log_likelihood, x": (lambda v: VAE_.log_likelihood(_points[:1], v), IMAGES),
    "VAE.log_joint, z": (lambda v: VAE_.log_joint(v, _images[:1]), POINTS),
    "VAE.log_joint, x": (lambda v: VAE_.log_joint(_points[:1], v), IMAGES),
    "VAE.elbo": (lambda v: VAE_.elbo(v, _stream()), IMAGES),
    "Encoder.forward": (VAE_.encoder, IMAGES),
    "Discriminator.forward": (JUDGE, IMAGES),
    "Classifier.forward": (CLASSIFIER, IMAGES),
    "Classifier.features": (CLASSIFIER.features, IMAGES),
    "posterior_grid": (lambda v: posterior_grid(VAE_, v, resolution=6).log_joint, FLAT[0]),
    "log_evidence": (lambda v: vars(log_evidence(VAE_, v, resolution=6)[0]), IMAGES),
    "elbo by quadrature": (lambda v: vars(elbo(VAE_, v)), IMAGES),
    "latent_structure": (
        lambda v: vars(
            latent_structure(
                VAE_,
                v,
                samples_per_image=2,
                limit=2,
                resolution=5,
                num_candidates=4,
                num_points=3,
                noise=_stream(),
            )
        ),
        IMAGES,
    ),
    "sample_quality, generated": (lambda v: _quality(generated=v), FLAT),
    "sample_quality, test": (lambda v: _quality(test=v), FLAT),
    "sample_quality, training": (lambda v: _quality(training=v), FLAT),
    "idx_bytes": (idx_bytes, BYTES),
}


class _Array:
    """What other libraries have: an object that NumPy reads."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.values.astype(dtype) if dtype else self.values


def _is_plane(a: np.ndarray) -> bool:
    return a.ndim == 2


def _is_float(a: np.ndarray) -> bool:
    return a.dtype.kind == "f"


def _always(a: np.ndarray) -> bool:
    return True


# Each says what is made of an array, and of which.
VALUES: dict[str, tuple[Callable[[np.ndarray], Any], Callable[[np.ndarray], bool]]] = {
    "array": (lambda a: a, _always),
    "reversed": (lambda a: a[::-1].copy()[::-1], _always),
    "reversed columns": (lambda a: a[..., ::-1].copy()[..., ::-1], _always),
    "transposed": (np.asfortranarray, _always),
    "every other": (lambda a: np.repeat(a, 2, axis=0)[::2], _always),
    "read-only": (lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape), _always),
    "other byte order": (lambda a: a.astype(a.dtype.newbyteorder()), _always),
    "big-endian double": (lambda a: a.astype(">f8"), _is_float),
    "half": (lambda a: a.astype(np.float16), _is_float),
    "double": (lambda a: a.astype(np.float64), _is_float),
    "longdouble": (lambda a: a.astype(np.longdouble), _is_float),
    "masked nowhere": (lambda a: np.ma.array(a), _always),
    "memory map": (lambda a: a.view(np.memmap), _always),
    "other library's": (_Array, _always),
    "objects": (lambda a: a.astype(object), _is_float),
    "list": (lambda a: a.tolist(), _is_float),
    "list of arrays": (list, _always),
    "tuple of tensors": (lambda a: tuple(map(torch.from_numpy, a)), lambda a: a.ndim > 1),
    "list of tensors with gradients": (
        lambda a: list(torch.from_numpy(a).requires_grad_()),
        lambda a: a.ndim > 1 and _is_float(a),
    ),
    "list of bfloat16": (lambda a: list(torch.from_numpy(a).bfloat16()), lambda a: a is POINTS),
    "sparse tensor": (lambda a: torch.from_numpy(a).to_sparse(), _always),
    "whole numbers": (lambda a: a.astype(">i4"), lambda a: _is_float(a) and a.ndim < 3),
    "matrix": (np.matrix, _is_plane),
    "frame": (pd.DataFrame, _is_plane),
    "frame of nullable numbers": (lambda a: pd.DataFrame(a).astype("Float64"), _is_plane),
    "frame of objects": (lambda a: pd.DataFrame(a).astype(object), _is_plane),
    "frame of two types": (
        lambda a: pd.DataFrame({"a": a[:, 0].astype(int), "b": a[:, 1]}),
        lambda a: a is POINTS,
    ),
    "series": (pd.Series, lambda a: a.ndim == 1),
    "sparse rows": (scipy.sparse.csr_array, _is_plane),
    "sparse columns": (scipy.sparse.csc_matrix, _is_plane),
    "sparse coordinates": (scipy.sparse.coo_array, _is_plane),
    "sparse frame": (
        lambda a: pd.DataFrame.sparse.from_spmatrix(scipy.sparse.csr_matrix(a)),
        _is_plane,
    ),
}


def _changed(a: np.ndarray, value: Any) -> np.ndarray:
    changed = a.astype(object)
    changed.flat[1] = value
    return changed


def _masked(a: np.ndarray) -> np.ma.MaskedArray:
    masked = np.ma.array(a)
    masked[0] = np.ma.masked
    return masked


SENTENCES: dict[str, tuple[Callable[[np.ndarray], Any], Callable[[np.ndarray], bool], str]] = {
    "masked": (_masked, _always, "masked"),
    "list of masked rows": (lambda a: list(_masked(a)), _always, "masked"),
    "mask in a list": (lambda a: [np.ma.masked, *a.tolist()], _always, "masked"),
    "complex": (lambda a: a + 1j, _always, "real numbers"),
    "complex without an imaginary part": (lambda a: a + 0j, _always, "real numbers"),
    "complex tensor": (lambda a: torch.from_numpy(a + 1j), _always, "real numbers"),
    "complex objects": (lambda a: _changed(a, 1j), _always, "real numbers"),
    "text": (lambda a: a.astype(str), _always, "text"),
    "bytes of text": (lambda a: a.astype("S"), _always, "text"),
    "text among objects": (lambda a: _changed(a, "1.5"), _always, "'1.5' is among them"),
    "a string": (lambda a: "points", _always, "text"),
    "nothing": (lambda a: None, _always, "None is among them"),
    "None among numbers": (lambda a: _changed(a, None), _always, "None is among them"),
    "a decimal": (lambda a: _changed(a, Decimal(1)), _always, "Decimal"),
    "dates": (lambda a: a.astype("datetime64[s]"), _always, "not datetime64"),
    "durations": (lambda a: a.astype("timedelta64[s]"), _always, "not timedelta64"),
    "records": (
        lambda a: np.zeros(len(a), [("x", np.float32), ("y", np.float32)]),
        _always,
        "structured_to_unstructured",
    ),
    "rows of two lengths": (lambda a: [[1.0, 2.0], [3.0]], _always, "must form an array"),
    "tensors of two shapes": (
        lambda a: [torch.ones(2, dtype=torch.bfloat16), torch.ones(3)],
        _always,
        "must form an array",
    ),
    "a dict": (lambda a: {"x": a}, _always, "a dict is among them"),
    "a generator": (lambda a: (row for row in a), _always, "a generator is among them"),
    "numbers beyond a double": (lambda a: _changed(a, 10**400), _always, "cannot hold"),
    "longdouble beyond a double": (
        lambda a: a.astype(np.longdouble) + np.longdouble("1e4000"),
        _always,
        "cannot hold",
    ),
    "frame with text": (
        lambda a: pd.DataFrame(a).assign(name="me"),
        _is_plane,
        "'me' is among them",
    ),
    "frame with a gap": (
        lambda a: pd.DataFrame(a).astype("Float64").where(a > a.min()),
        _is_plane,
        "<NA> is among them",
    ),
    "nested tensor": (
        lambda a: torch.nested.nested_tensor(list(map(torch.from_numpy, a))),
        lambda a: a.ndim > 1,
        "plain tensor",
    ),
}


def _flat_result(result: Any) -> np.ndarray:
    """All numbers of a result, in order."""
    if isinstance(result, Tensor):
        return result.detach().double().flatten().numpy()
    if isinstance(result, bytes):
        return np.frombuffer(result, np.uint8)
    if hasattr(result, "__dataclass_fields__"):
        result = vars(result)
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, list | tuple):
        return np.concatenate([_flat_result(part) for part in result])
    return np.array([float(result)])


@contextlib.contextmanager
def _about(kind: object) -> Iterator[None]:
    """Say of which kind of input a failure is: a test meets all of them, one after the other."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"This was about {kind!r}.")
        raise


def _of(*models: str) -> list[str]:
    return [name for name in FUNCTIONS if name.startswith(models)]


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning", "ignore:.*nested tensors")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_kind_of_input_has_the_value_of_a_tensor(name: str) -> None:
    function, plain = FUNCTIONS[name]
    expected = _flat_result(function(torch.from_numpy(plain)))
    assert expected.size
    for kind, (make, fits) in VALUES.items():
        if fits(plain):
            with _about(kind):
                found = _flat_result(function(make(plain)))
                # What is computed in the type of the input is of its precision.
                rtol = 1e-2 if kind in ("half", "list of bfloat16") else 1e-6
                np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol / 10)


@pytest.mark.filterwarnings("ignore:.*nested tensors")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_no_array_of_real_numbers_gets_one_sentence(name: str) -> None:
    function, plain = FUNCTIONS[name]
    for kind, (make, fits, sentence) in SENTENCES.items():
        if fits(plain):
            with _about(kind):
                with pytest.raises(ValueError, match=sentence) as caught:
                    function(make(plain))
                assert "\n" not in str(caught.value)


# To the energy test images are points, on any scale.
OF_MODELS = {n for n, (_, plain) in FUNCTIONS.items() if plain is IMAGES} - {
    "energy_test of images"
}


@pytest.mark.parametrize("name", sorted(OF_MODELS))
def test_arrays_of_bytes_are_no_images_of_a_model(name: str) -> None:
    with pytest.raises(ValueError, match=r"divide bytes by 255"):
        FUNCTIONS[name][0](IMAGES.astype(np.uint8))


@pytest.mark.parametrize("name", _of("RealNVP", "OTFlow", "Gen"))
def test_numbers_beyond_the_models_type_get_a_sentence(name: str) -> None:
    with pytest.raises(ValueError, match=r"include 1e\+50, which torch.float32 cannot hold"):
        FUNCTIONS[name][0]([[1.0, 1e50]])


def test_an_array_gets_the_models_type() -> None:
    assert RealNVP(2, 4).double().log_prob(POINTS).dtype == torch.float64
    assert NVP.log_prob(POINTS.astype(np.float64)).dtype == torch.float32
    assert MOONS.log_prob(POINTS.astype(">f8")).dtype == torch.float64
    assert MOONS.log_prob([[0, 1]]).dtype == torch.float64


# Every whole number among the arguments, with a value that is possible.
WHOLE: dict[str, tuple[Callable[[Any], Any], int]] = {
    "energy_test, seed": (lambda n: energy_test(_points, _others, seed=n, num_permutations=9), 3),
    "energy_test, permutations": (lambda n: energy_test(_points, _others, num_permutations=n), 3),
    "energy_test, block": (
        lambda n: energy_test(_points, _others, block_size=n, num_permutations=9),
        3,
    ),
    "energy_distance, block": (lambda n: energy_distance(_points, _others, block_size=n), 3),
    "stream_seed": (lambda n: float(stream_seed(n, "test")), 3),
    "random_stream": (lambda n: torch.randn(3, generator=random_stream(n, "test")), 3),
    "RealNVP.sample": (lambda n: NVP.sample(n, _stream()), 3),
    "OTFlow.sample": (lambda n: OT.sample(n, _stream()), 3),
    "sample_moons": (lambda n: sample_moons(n, 0.1, _stream()), 3),
    "sample_images": (lambda n: sample_images(VAE_.generator, n, _stream()), 3),
    "interpolate": (lambda n: interpolate(VAE_.generator, n), 3),
    "RealNVP, layers": (lambda n: float(len(RealNVP(n, 4).layers)), 3),
    "RealNVP, width": (lambda n: _size(RealNVP(2, n)), 3),
    "OTFlow, width": (lambda n: _size(OTFlow(n)), 3),
    "OTFlow, steps": (lambda n: float(OTFlow(num_steps=n).num_steps), 3),
    "OTFlow, rank": (lambda n: _size(OTFlow(rank=n)), 2),
    "OTFlow.integrate": (lambda n: OT.integrate(_points, reverse=False, num_steps=n), 3),
    "ot_flow_objective": (lambda n: ot_flow_objective(OT, _points, num_steps=n), 3),
    "Generator, dimension": (lambda n: _size(Generator(n, 2)), 3),
    "Generator, width": (lambda n: _size(Generator(2, n)), 3),
    "Encoder, dimension": (lambda n: _size(Encoder(n, 2)), 3),
    "Encoder, width": (lambda n: _size(Encoder(2, n)), 3),
    "Discriminator": (lambda n: _size(Discriminator(n)), 3),
    "Classifier": (lambda n: _size(Classifier(n)), 3),
    "posterior_grid": (lambda n: posterior_grid(VAE_, _flat[0], resolution=n).log_joint, 6),
    "log_evidence": (lambda n: vars(log_evidence(VAE_, _images, resolution=n)[0]), 6),
    "compare_features, k": (
        lambda n: vars(compare_features(_points, _others, num_neighbours=n)),
        2,
    ),
    "compare_features, block": (
        lambda n: vars(compare_features(_points, _others, num_neighbours=1, block_size=n)),
        2,
    ),
    "nearest_training_distances": (
        lambda n: nearest_training_distances(_points, _others, block_size=n),
        2,
    ),
    "sample_quality": (lambda n: _quality(num_searched=n), 2),
    "held_out_nll": (lambda n: held_out_nll(NVP, _points, MOONS.log_prob, batch_size=n), 2),
    "latent_gaussianity": (
        lambda n: vars(latent_gaussianity(NVP, _points, _stream(), num_null=n)),
        2,
    ),
    **{
        f"latent_structure, {name}": (
            lambda n, name=name: vars(
                latent_structure(
                    VAE_,
                    _images,
                    limit=2,
                    noise=_stream(),
                    **{
                        "samples_per_image": 2,
                        "resolution": 5,
                        "num_candidates": 4,
                        "num_points": 3,
                    }
                    | {name: n},
                )
            ),
            3,
        )
        for name in ("samples_per_image", "resolution", "num_candidates", "num_points")
    },
}


def _size(model: torch.nn.Module) -> float:
    return float(sum(p.numel() for p in model.parameters()))


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers_of_numpy_and_torch_are_taken(name: str) -> None:
    function, value = WHOLE[name]
    expected = _flat_result(function(value))
    for other in (np.int64, np.uint8, torch.tensor):
        with _about(other):
            np.testing.assert_array_equal(_flat_result(function(other(value))), expected)


# Without a number of steps a flow takes its own, and a bound has a spacing of its own.
NONE_IS_THE_DEFAULT = ("OTFlow.integrate", "ot_flow_objective", "elbo, spacing")
NO_WHOLE_NUMBERS = [
    *(2.5, 3.0, np.float64(3), True, np.True_, torch.tensor(True)),
    *("3", None, [3], 3j, torch.ones(2)),
]
NOT_POSITIVE = [0, -1.0, np.nan, np.inf, "1", None, 1j, True]


def _wrong(name: str, values: list[Any]) -> list[Any]:
    return [v for v in values if v is not None or name not in NONE_IS_THE_DEFAULT]


@pytest.mark.parametrize("name", WHOLE)
def test_other_numbers_are_no_whole_numbers(name: str) -> None:
    for wrong in _wrong(name, NO_WHOLE_NUMBERS):
        with _about(wrong), pytest.raises(ValueError, match="must be a whole number, not "):
            WHOLE[name][0](wrong)


STREAMS: dict[str, Callable[[Any], Any]] = {
    "sample_moons": lambda stream: sample_moons(3, 0.1, stream),
    "RealNVP.sample": lambda stream: NVP.sample(3, stream),
    "OTFlow.sample": lambda stream: OT.sample(3, stream),
    "VAE.elbo": lambda stream: VAE_.elbo(_images, stream),
    "sample_images": lambda stream: sample_images(VAE_.generator, 3, stream),
    "latent_gaussianity": lambda stream: latent_gaussianity(NVP, _points, stream, num_null=2),
    "latent_structure": lambda stream: latent_structure(
        VAE_,
        _images,
        samples_per_image=1,
        limit=2,
        resolution=3,
        num_candidates=2,
        num_points=1,
        noise=stream,
    ),
}


@pytest.mark.parametrize(
    "wrong",
    [None, 3, np.random.default_rng(0), torch.Generator],
    ids=["nothing", "a number", "of NumPy", "a class"],
)
@pytest.mark.parametrize("name", STREAMS)
def test_what_is_no_random_stream_gets_one_sentence(name: str, wrong: Any) -> None:
    if wrong is None and name in ("RealNVP.sample", "OTFlow.sample"):
        assert STREAMS[name](None).shape == (3, 2)
        return
    with pytest.raises(ValueError, match=r"must be a torch.Generator, such as .*, not of type"):
        STREAMS[name](wrong)


POSITIVE: dict[str, Callable[[Any], Any]] = {
    "MoonsDensity": MoonsDensity,
    "sample_moons": lambda value: sample_moons(3, value, _stream()),
    "posterior_grid": lambda value: posterior_grid(VAE_, _flat[0], limit=value, resolution=6),
    "log_evidence": lambda value: log_evidence(VAE_, _images, limit=value, resolution=6),
    "elbo, limit": lambda value: elbo(VAE_, _images, limit=value),
    "elbo, spacing": lambda value: elbo(VAE_, _images, spacing=value),
    "latent_structure": lambda value: latent_structure(
        VAE_,
        _images,
        samples_per_image=1,
        limit=value,
        resolution=3,
        num_candidates=2,
        num_points=1,
        noise=_stream(),
    ),
}


@pytest.mark.parametrize("name", POSITIVE)
def test_what_is_not_positive_gets_one_sentence(name: str) -> None:
    for wrong in _wrong(name, NOT_POSITIVE):
        with _about(wrong), pytest.raises(ValueError, match="must be positive and finite, not "):
            POSITIVE[name](wrong)
    POSITIVE[name](np.float32(1))


@pytest.mark.parametrize("noise", [1e-31, 1e-200, 1e31, 1e300])
def test_noise_whose_square_is_beyond_a_double_is_refused(noise: float) -> None:
    with pytest.raises(ValueError, match="noise must be between 1e-30 and 1e"):
        MoonsDensity(noise)


DENSITIES: dict[str, Callable[[Any], Tensor]] = {
    "RealNVP": RealNVP(2, 8).log_prob,
    "RealNVP in double": RealNVP(2, 8).double().log_prob,
    "OTFlow": OTFlow(8).log_prob,
    "OTFlow in double": OTFlow(8).double().log_prob,
    "moons": MoonsDensity(0.05).log_prob,
    "moons with hardly any noise": MoonsDensity(1e-30).log_prob,
    "moons with much noise": MoonsDensity(1e30).log_prob,
}


@pytest.mark.parametrize("name", DENSITIES)
def test_log_densities_are_minus_infinity_at_infinity(name: str) -> None:
    inf = np.inf
    points = [[inf, 0], [0, -inf], [inf, -inf], [inf, inf], [0, 0], [1e30, -1e30], [3e38, -3e38]]
    found = DENSITIES[name](points)
    assert (found[:4] == -inf).all()
    assert found[4].isfinite()
    assert not found.isnan().any()
    far = torch.tensor(points, dtype=found.dtype, requires_grad=True)
    at_zero = DENSITIES[name](far)[4]
    assert torch.autograd.grad(at_zero, far)[0].isfinite().all()


@pytest.mark.parametrize("model", [RealNVP(2, 8), OTFlow(8), Standardised(OTFlow(8))])
def test_a_point_at_infinity_spoils_no_gradient(model: Flow) -> None:
    points = torch.tensor([[np.inf, 0], [0.5, -1], [3e38, -3e38]], requires_grad=True)
    log_p = model.log_prob(points)
    parameters = list(model.parameters())
    mean = log_p[log_p.isfinite()].mean()
    found = torch.autograd.grad(mean, [points, *parameters], allow_unused=True)
    alone = model.log_prob(points[1:2]).mean()
    expected = torch.autograd.grad(alone, parameters, allow_unused=True)
    assert not found[0][[0, 2]].any()
    for ours, theirs in zip(found[1:], expected, strict=True):
        assert (ours is None) == (theirs is None)
        assert ours is None or torch.allclose(ours, theirs, atol=1e-6)


def test_samples_may_both_be_sparse() -> None:
    x, y = np.eye(3, 2), np.eye(4, 2)[1:]
    for kind in (scipy.sparse.csr_matrix, scipy.sparse.csr_array, scipy.sparse.coo_array):
        assert energy_distance(kind(x), kind(y)) == energy_distance(x, y)
        sparse = energy_test(kind(x), kind(y), num_permutations=9)
        assert sparse.statistic == energy_test(x, y, num_permutations=9).statistic


@pytest.mark.parametrize("noise", [torch.tensor(0.25), np.array(0.25), np.float32(0.25)], ids=repr)
def test_a_number_of_numpy_and_torch_is_one(noise: Any) -> None:
    assert MoonsDensity(noise).log_prob([[0, 1]]) == MoonsDensity(0.25).log_prob([[0, 1]])


@pytest.mark.parametrize("name", DENSITIES)
def test_a_nan_is_not_taken_for_a_point(name: str) -> None:
    points = [[np.nan, 0], [np.inf, np.nan]]
    if name.startswith("moons"):
        with pytest.raises(ValueError, match="points must be numbers, but some are NaN"):
            DENSITIES[name](points)
    else:
        assert DENSITIES[name](points).isnan().all()


def _parts(result: Any) -> tuple[Tensor, ...]:
    if isinstance(result, DiagonalGaussian):
        return result.mean, result.log_variance
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize(
    "name", _of("RealNVP", "OTFlow", "Moons", "Gen", "Encoder", "Discriminator", "Classifier")
)
def test_no_points_have_no_values(name: str) -> None:
    function, plain = FUNCTIONS[name]
    for empty in (plain[:0], torch.from_numpy(plain[:0]).requires_grad_()):
        results = _parts(function(empty))
        expected = _parts(function(torch.from_numpy(plain)))
        for one, other in zip(results, expected, strict=True):
            size = len(plain)
            assert one.shape == tuple(0 if n == size else n for n in other.shape)
    sum(one.sum() for one in results).backward()
    assert empty.grad.shape == plain[:0].shape


def test_no_samples() -> None:
    assert NVP.sample(0).shape == OT.sample(0).shape == (0, 2)


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e-160, 1e-100, 1.0, 1e100, 1e140])
def test_scale_changes_no_energy_test(scale: float) -> None:
    x, y = POINTS.astype(np.float64) + 0.25, 2.0 * OTHERS.astype(np.float64)
    expected = energy_test(x, y, num_permutations=99)
    found = energy_test(scale * x, scale * y, num_permutations=99)
    assert found.pvalue == expected.pvalue
    for name in ("statistic", "energy_distance", "standard_error"):
        ratio = getattr(found, name) / scale / getattr(expected, name)
        assert ratio == pytest.approx(1, rel=1e-10 if scale > 1e-300 else 1e-2)
    estimate = energy_distance(scale * x, scale * y)
    assert (estimate.value, estimate.standard_error) == pytest.approx(
        (found.energy_distance, found.standard_error), rel=1e-12, abs=0
    )
    other = energy_distance(x + 1, y).contributions
    error = difference_standard_error(expected.contributions, other, paired_x=True)
    other = energy_distance(scale * (x + 1), scale * y).contributions
    scaled = difference_standard_error(found.contributions, other, paired_x=True)
    assert scaled / scale == pytest.approx(error, rel=1e-10 if scale > 1e-300 else 1e-2)


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e140])
def test_scale_changes_no_neighbours(scale: float) -> None:
    x, y = POINTS.astype(np.float64) + 0.25, 2.0 * OTHERS.astype(np.float64)
    assert compare_features(scale * x, scale * y, num_neighbours=2) == compare_features(
        x, y, num_neighbours=2
    )
    torch.testing.assert_close(
        nearest_training_distances(scale * x, scale * y) / scale, nearest_training_distances(x, y)
    )
