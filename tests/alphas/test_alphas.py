"""Every alpha parametrization: its contract, and what it is made of."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from peekaboo.alphas import Alpha, Bicubic, Bilateral, Competing, Fourier, Raster
from peekaboo.alphas.base import finished
from peekaboo.functional.bilateral import bilateral_filter, bilateral_weights, pad_weights
from peekaboo.guides import RGB

MAKERS: dict[str, Callable[[], Alpha]] = {
    "raster": Raster,
    "bicubic": lambda: Bicubic(cells=5),
    "fourier": lambda: Fourier(features=6, scale=2.0, width=10, depth=2),
    "bilateral": lambda: Bilateral(Raster(), RGB(), passes=5),
    "bilateral_fourier": lambda: Bilateral(Fourier(features=6, width=10, depth=1), RGB(), passes=5),
}
alphas = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def start(make: Callable[[], Alpha], images: Tensor, seeds: list[int]) -> Alpha:
    alpha = make()
    alpha.reset(images, seeds)
    return alpha


@alphas
def test_gives_n_opacities_of_the_images_size(make: Callable[[], Alpha]) -> None:
    alpha = start(make, torch.rand(3, 3, 9, 7), [0, 1, 2])
    opacity = alpha()
    assert opacity.shape == alpha.logits().shape == (3, 1, 9, 7)
    assert float(opacity.min()) >= 0 and float(opacity.max()) <= 1
    torch.testing.assert_close(opacity, alpha.logits().sigmoid(), rtol=0, atol=1e-7)


@alphas
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (6, 1)])
def test_any_size_works(make: Callable[[], Alpha], size: tuple[int, int]) -> None:
    opacity = start(make, torch.rand(1, 3, *size), [0])()
    assert opacity.shape == (1, 1, *size)
    assert opacity.isfinite().all()


@alphas
def test_a_seed_decides_the_initial_values(make: Callable[[], Alpha]) -> None:
    images = torch.rand(1, 3, 8, 8)
    first, again, other = (start(make, images, [seed])() for seed in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)


@alphas
def test_reset_starts_anew_also_at_another_size_and_number(make: Callable[[], Alpha]) -> None:
    alpha, images = make(), torch.rand(3, 3, 8, 6)
    alpha.reset(torch.rand(1, 3, 5, 5), [9])
    with torch.no_grad():
        for p in alpha.parameters():
            p.add_(1)
    alpha.reset(images, [0, 1, 2])
    assert torch.equal(alpha(), start(make, images, [0, 1, 2])())


@alphas
def test_a_sample_trains_as_if_it_were_alone(make: Callable[[], Alpha]) -> None:
    """Ten steps of Adam towards a target, in a batch of three and alone."""
    images, targets = torch.rand(3, 3, 8, 8), torch.rand(3, 1, 8, 8)

    def train(chosen: list[int]) -> Tensor:
        alpha = start(make, images[chosen], [10 + i for i in chosen])
        optimizer = torch.optim.Adam(alpha.parameters(), lr=0.05)
        for _ in range(10):
            optimizer.zero_grad()
            (alpha() - targets[chosen]).square().sum().backward()
            optimizer.step()
        return alpha().detach()

    together = train([0, 1, 2])
    for i in range(3):
        # batched products sum in another order; ten steps of Adam at 0.05 let that grow a little
        torch.testing.assert_close(together[i : i + 1], train([i]), rtol=0, atol=1e-4)


@alphas
def test_every_parameter_gets_a_gradient_and_leads_with_the_number_of_pairs(make: Callable[[], Alpha]) -> None:
    alpha = start(make, torch.rand(3, 3, 8, 8), [0, 1, 2])
    (alpha() * torch.rand(3, 1, 8, 8)).sum().backward()
    for name, p in alpha.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().max() > 0, name
        assert p.shape[0] == 3 and p.ndim > 1, name  # what the gradient guard takes for "pair by pair"


def test_raster_is_normal_with_the_given_deviation() -> None:
    values = start(lambda: Raster(scale=3.0), torch.rand(1, 3, 100, 100), [0]).logits()
    assert abs(float(values.mean())) < 0.15 and abs(float(values.std()) - 3) < 0.11  # 5 standard errors of 10,000 draws


def cubic(x: float, a: float = -0.75) -> float:
    """The kernel of cubic convolution (Keys 1981), with PyTorch's parameter."""
    x = abs(x)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def test_bicubic_is_the_cubic_convolution_of_its_grid() -> None:
    alpha = start(lambda: Bicubic(cells=4, scale=2.0), torch.rand(2, 3, 10, 7), [0, 1])
    found = alpha.logits()
    for sample, row, column in ((0, 5, 3), (1, 0, 6), (1, 9, 0)):
        y, x = (row + 0.5) * 4 / 10 - 0.5, (column + 0.5) * 4 / 7 - 0.5
        total = 0.0
        for i in range(math.floor(y) - 1, math.floor(y) + 3):
            for j in range(math.floor(x) - 1, math.floor(x) + 3):
                value = alpha.grid[sample, 0, min(max(i, 0), 3), min(max(j, 0), 3)]  # the edge goes on
                total += cubic(y - i) * cubic(x - j) * float(value)
        assert float(found[sample, 0, row, column]) == pytest.approx(total, abs=1e-5)


def test_bicubic_takes_up_logits_as_nearly_as_it_can() -> None:
    alpha = start(lambda: Bicubic(cells=16), torch.rand(1, 3, 64, 64), [0])
    y, x = torch.meshgrid(torch.linspace(-3, 3, 64), torch.linspace(-2, 2, 64), indexing="ij")
    smooth = (y + x)[None, None]
    alpha.begin_at(smooth)
    assert (alpha.logits() - smooth)[..., 6:-6, 6:-6].abs().max() < 0.05  # of 10; the kernel with -0.75 bends a plane a little
    assert alpha.grid.requires_grad
    with pytest.raises(ValueError, match=r"^cells: expected at least 1, got 0$"):
        Bicubic(cells=0)


def plain_fourier(alpha: Fourier, sample: int, height: int, width: int) -> Tensor:
    """The same network out of PyTorch's own layers: (1, channels, height, width)."""
    layers: list[nn.Module] = []
    for i in range(alpha.depth):
        weight = alpha.weights[i][sample]
        convolution, norm = nn.Conv2d(*weight.shape, 1), nn.BatchNorm2d(alpha.width)
        convolution.weight.data = weight.T[:, :, None, None].clone()
        convolution.bias.data = alpha.biases[i][sample, 0].clone()
        norm.weight.data, norm.bias.data = alpha.gains[i][sample, 0].clone(), alpha.shifts[i][sample, 0].clone()
        layers += [convolution, nn.ReLU(), norm]
    weight = alpha.weights[-1][sample]
    last = nn.Conv2d(*weight.shape, 1)
    last.weight.data, last.bias.data = weight.T[:, :, None, None].clone(), alpha.biases[-1][sample, 0].clone()
    network = nn.Sequential(*layers, last).train()
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    phase = torch.stack([2 * math.pi * (bx * x + by * y) for bx, by in alpha.frequencies[sample]])
    return network(torch.cat([phase.sin(), phase.cos()])[None])


def test_fourier_equals_a_network_of_plain_layers() -> None:
    alpha = start(lambda: Fourier(features=5, scale=3.0, width=8, depth=3, channels=2), torch.rand(2, 3, 6, 9), [0, 1])
    assert isinstance(alpha, Fourier)
    with torch.no_grad():  # gains and shifts that are not 1 and 0
        for p in [*alpha.gains, *alpha.shifts]:
            p.add_(0.3 * torch.randn_like(p))
    for i in range(2):
        expected = plain_fourier(alpha, i, 6, 9)
        torch.testing.assert_close(alpha.logits()[i : i + 1], expected, rtol=0, atol=2e-5)  # float32, four layers


def test_fourier_starts_as_pytorchs_convolutions_do() -> None:
    alpha = start(lambda: Fourier(features=32, width=64, depth=1), torch.rand(1, 3, 4, 4), [0])
    assert isinstance(alpha, Fourier)
    bound = 1 / math.sqrt(64)
    for p in (alpha.weights[0], alpha.weights[1]):
        assert 0.9 * bound < float(p.abs().max()) <= bound
    assert abs(float(alpha.frequencies.std()) - 10) < 3  # N(0, scale^2), 64 draws


@pytest.mark.parametrize("argument", ["features", "width", "depth", "channels"])
def test_fourier_refuses_sizes_under_one(argument: str) -> None:
    with pytest.raises(ValueError, match="features, width, depth, channels: expected at least 1"):
        Fourier(**{argument: 0})


def test_bilateral_is_the_filter_of_its_field_along_its_guide() -> None:
    images = torch.rand(2, 3, 8, 7)
    filtered = start(lambda: Bilateral(Raster(), RGB(), 7, 5, 2.0, 0.3), images, [0, 1])
    raw = start(Raster, images, [0, 1]).logits()
    expected = bilateral_filter(raw, pad_weights(bilateral_weights(images, 5, 2.0, 0.3)), 7)
    torch.testing.assert_close(filtered.logits(), expected, rtol=0, atol=1e-6)
    assert not torch.allclose(filtered.logits(), raw, atol=0.1)


def test_bilateral_trades_no_more_than_its_error_and_error_zero_trades_nothing() -> None:
    images = torch.rand(1, 3, 24, 24)
    weights, raw = pad_weights(bilateral_weights(images, 3, 5.0, 0.5)), start(Raster, images, [0]).logits()
    exact = bilateral_filter(raw, weights, 40)
    apart = {}
    for error in (0.0, 0.002, 0.2):
        alpha = start(lambda error=error: Bilateral(Raster(), RGB(), tolerance=0.5, error=error), images, [0])
        apart[error] = float((alpha.logits() - exact).norm() / raw.norm())
    assert apart[0.0] == 0 < apart[0.002] < 0.002 < apart[0.2] < 0.2


@pytest.mark.parametrize("error", [-0.1, 1.0])
def test_bilateral_refuses_an_error_that_is_none(error: float) -> None:
    with pytest.raises(ValueError, match=r"error: expected a number in \[0, 1\), got"):
        Bilateral(Raster(), RGB(), error=error)


def test_bilateral_keeps_its_weights_out_of_the_state() -> None:
    alpha = start(lambda: Bilateral(Raster(), RGB()), torch.rand(1, 3, 8, 8), [0])
    assert list(alpha.state_dict()) == ["field.field"]


def test_bilateral_refuses_negative_passes() -> None:
    for passes, gap_passes in ((-1, 0), (3, -1)):
        with pytest.raises(ValueError, match=f"passes, gap_passes: expected 0 or more, got {passes}, {gap_passes}"):
            Bilateral(Raster(), RGB(), passes=passes, gap_passes=gap_passes)


def test_gap_passes_are_passes_of_the_next_pixels_after_the_others() -> None:
    images = torch.rand(2, 3, 12, 10)
    gappy = start(lambda: Bilateral(Raster(), RGB(), 7, 5, 2.0, 0.3, dilation=3, error=0), images, [0, 1]).logits()
    found = start(lambda: Bilateral(Raster(), RGB(), 7, 5, 2.0, 0.3, 3, gap_passes=4, error=0), images, [0, 1]).logits()
    expected = bilateral_filter(gappy, pad_weights(bilateral_weights(images, 3, 2.0, 0.3)), 4)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_gap_passes_take_the_pattern_of_the_gaps_away() -> None:
    """On a flat guide every third pixel of a noisy field goes together; what differs between neighbours is the pattern."""
    rough = {}
    for gap_passes in (0, 10):
        alpha = start(
            lambda n=gap_passes: Bilateral(Raster(scale=1.0), RGB(), kernel=5, dilation=3, gap_passes=n),
            torch.zeros(1, 3, 48, 48),
            [0],
        )
        rough[gap_passes] = float(alpha.logits().diff(dim=-1).square().mean())
    assert rough[10] < 0.1 * rough[0]


def test_competing_opacities_sum_to_one_with_the_background() -> None:
    images = torch.rand(1, 3, 6, 6).expand(3, -1, -1, -1)
    alpha = start(lambda: Competing(Raster()), images, [0, 1, 2])
    exponentials = alpha.logits().exp()
    background = 1 / (1 + exponentials.sum(0))  # of logit 0
    torch.testing.assert_close(alpha().sum(0) + background, torch.ones(1, 6, 6), rtol=0, atol=1e-6)
    torch.testing.assert_close(alpha(), exponentials * background, rtol=0, atol=1e-6)


def test_a_single_competing_prompt_is_the_field_itself() -> None:
    images = torch.rand(1, 3, 6, 6)
    expected = start(Raster, images, [0])()
    torch.testing.assert_close(start(lambda: Competing(Raster()), images, [0])(), expected, rtol=0, atol=1e-6)


def test_competing_refuses_different_images() -> None:
    with pytest.raises(ValueError, match="Competing expected several prompts of one image, got a batch of different images"):
        Competing(Raster()).reset(torch.rand(2, 3, 6, 6), [0, 1])


def test_a_filter_at_the_end_is_in_the_result_and_in_no_step() -> None:
    image, raster = torch.rand(1, 3, 12, 10), Raster()
    late, always = Bilateral(raster, RGB(), passes=4, at="end"), Bilateral(Raster(), RGB(), passes=4)
    outer = Competing(late)
    for alpha in (outer, always):
        alpha.reset(image, [3])
    assert torch.equal(late(), raster.logits().sigmoid())
    with finished(outer):
        assert torch.equal(late(), always())
        assert torch.allclose(outer(), always(), atol=1e-6)
    assert torch.equal(late(), raster.logits().sigmoid())
    with pytest.raises(ValueError, match=r"at: expected one of every_step, end, got 'start'"):
        Bilateral(Raster(), RGB(), at="start")
