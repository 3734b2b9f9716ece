"""Grids that are chosen from what calibration saw."""

import numpy as np
import pytest
import torch

from mobilevit_fast.image import Preprocessing
from mobilevit_fast.quantization import MeanSquaredError, MinMax, Percentile
from mobilevit_fast.quantization.calibration import calibrate
from mobilevit_fast.quantization.network import fold_network
from mobilevit_fast.quantization.observer import OBSERVERS, Distribution
from mobilevit_fast.quantization.point import Kind
from mobilevit_fast.weights import Grid

BINS = 4096


def distribution(values):
    counts, edges = np.histogram(values, BINS)
    return Distribution(counts.astype(float), float(edges[0]), float(edges[-1]))


def ends(grid):
    return grid.dequantize(np.array([0, 255]))


def mean_square(values, grid, function=lambda x: x):
    return np.square(function(grid.dequantize(grid.quantize(values))) - function(values)).mean()


def silu(x):
    return x / (1 + np.exp(-x))


@pytest.fixture
def values():
    """Most of them within 4 of zero, a few far away."""
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(0, 1, 100_000), [60.0, -35.0]])


def test_minmax_spans_everything(values):
    low, high = ends(MinMax().choose(distribution(values), Kind.PLAIN))
    assert low == pytest.approx(-35, rel=0.01)
    assert high == pytest.approx(60, rel=0.01)


def test_percentile_cuts_off_as_much_below_as_above(values):
    low, high = ends(Percentile(99).choose(distribution(values), Kind.PLAIN))
    assert low == pytest.approx(np.percentile(values, 0.5), abs=0.05)
    assert high == pytest.approx(np.percentile(values, 99.5), abs=0.05)


def test_mean_squared_error_is_least(values):
    values = np.append(values[np.abs(values) < 20], [9.0, -9.0])
    seen = distribution(values)
    errors = {name: mean_square(values, make().choose(seen, Kind.PLAIN)) for name, make in OBSERVERS.items()}
    assert errors["mse"] < errors["minmax"]
    assert errors["mse"] <= 1.02 * errors["percentile"]


def test_before_silu_what_lies_far_below_zero_shares_a_byte():
    values = np.random.default_rng(0).normal(-4, 6, 100_000)
    seen = distribution(values)
    plain, before = (MeanSquaredError().choose(seen, kind) for kind in (Kind.PLAIN, Kind.BEFORE_SILU))
    assert ends(before)[0] > 0.6 * ends(plain)[0]
    assert mean_square(values, before, silu) < 0.7 * mean_square(values, plain, silu)


@pytest.mark.parametrize("observer", OBSERVERS)
def test_symmetric_grids_have_zero_in_the_middle(observer, values):
    assert OBSERVERS[observer]().choose(distribution(values), Kind.SYMMETRIC).zero_point == 128


@pytest.mark.parametrize("observer", OBSERVERS)
@pytest.mark.parametrize("kind", Kind)
def test_nothing_seen_but_zeros_gives_a_grid(observer, kind):
    grid = OBSERVERS[observer]().choose(Distribution(np.zeros(BINS), 0.0, 0.0), kind)
    assert grid.quantize(0.0) == grid.zero_point


@pytest.mark.parametrize("observer", OBSERVERS)
def test_zero_is_on_the_grid_of_values_above_it(observer):
    grid = OBSERVERS[observer]().choose(distribution(np.linspace(3, 4, 1000)), Kind.PLAIN)
    assert grid.zero_point == 0
    assert ends(grid)[1] == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Percentile(40), "percent must be above 50"),
        (lambda: MeanSquaredError(steps=1), "steps must be at least 2"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_observer_of_ones_own_serves(checkpoint, images):
    from mobilevit_fast import StaticInt8, quantize

    class Fixed:
        def choose(self, distribution, kind):
            return Grid(0.25, 128)

    model = quantize(checkpoint, StaticInt8(Fixed()), calibration=images).checkpoint()
    image = model.activations.pop("image")
    assert set(model.activations.values()) == {Grid(0.25, 128)}
    assert image == Grid(1 / 255, 0)


def test_every_point_is_seen_and_the_network_stays(network, images):
    before = network(images[:2])
    calibrate(network, images[:8], MinMax())
    assert torch.equal(network(images[:2]), before)
    assert all(point.grid != Grid(1.0, 128) and point.watch is None for point in network.points.values())


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_the_grid_of_images_follows_from_preprocessing_unless_they_were_prepared_otherwise(
    checkpoint, images, scale
):
    from dataclasses import replace

    rule = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.25, 0.5, 0.25))
    network = fold_network(replace(checkpoint, preprocessing=rule))
    given = (images - 0.5) / 0.25 * scale
    calibrate(network, given, MinMax())
    low, high = ends(network.image.grid)
    if scale == 1:
        assert (low, high) == pytest.approx((-2, 2), abs=0.02)
    else:
        assert (low, high) == pytest.approx((float(given.min()), float(given.max())), rel=0.02)
