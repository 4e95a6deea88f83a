"""What a GPU does differently: run by `make test-gpu` on a machine that has one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT

from peekaboo.alphas import Bilateral, Fourier, Raster
from peekaboo.command_line.entry import main
from peekaboo.functional.bilateral import bilateral_filter, bilateral_weights, pad_weights
from peekaboo.functional.random import Draws
from peekaboo.guides import RGB
from peekaboo.losses import ScoreDistillation
from peekaboo.optimisation.segmenter import Segmenter
from peekaboo.starts import Attention, NoiseDifference
from peekaboo.teachers import Diffusion

Make = Callable[..., Any]
cuda = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
mps = [pytest.mark.mps, pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU")]
ALPHAS = [Raster, lambda: Fourier(features=8, width=8, depth=1), lambda: Bilateral(Raster(), RGB(), passes=5)]
DEVICES = [pytest.param("cuda", marks=cuda), pytest.param("mps", marks=mps)]


def on(segmenter: Segmenter, device: str, precision: str = "32-true") -> Segmenter:
    segmenter.precision = precision
    return segmenter.to(device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "alpha", [Raster, lambda: Fourier(features=8, width=8, depth=1), lambda: Bilateral(Raster(), RGB(), passes=5)]
)
def test_a_mask_is_the_cpus(make_segmenter: Make, device: str, alpha: Callable[[], Any]) -> None:
    """Numbers are drawn on the CPU, so that a seed means the same everywhere; kernels round differently."""
    pairs = make_segmenter().input.pairs()
    here = make_segmenter(alpha()).segment(pairs, [0])[0].alpha
    there = on(make_segmenter(alpha()), device).segment(pairs, [0])[0].alpha
    torch.testing.assert_close(there, here, rtol=0, atol=5e-3)


@pytest.mark.parametrize("device", DEVICES)
def test_draws_are_the_cpus(device: str) -> None:
    here, there = Draws([1, 2], step=3).of("noise").normal(4, 5), Draws([1, 2], step=3, device=device).of("noise").normal(4, 5)
    assert there.device.type == device and torch.equal(there.cpu(), here)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("start", [Attention([300]), NoiseDifference([300])])
def test_an_optimisation_begins_at_the_same_map(make_segmenter: Make, device: str, start: Any) -> None:
    pairs = make_segmenter().input.pairs()
    maps = [
        on(make_segmenter(Raster(), start=start), where).begin(pairs, [0]).opacity().detach().cpu() for where in ("cpu", device)
    ]
    torch.testing.assert_close(maps[1], maps[0], rtol=0, atol=2e-2)


@pytest.mark.parametrize("device", DEVICES)
def test_the_command_line_finds_the_device(fit_arguments: Any, device: str) -> None:
    arguments = [a for a in fit_arguments("rgb_bilateral.yaml") if not a.startswith("--trainer.accelerator")]
    assert main([*arguments, "--trainer.accelerator=auto"]) == 0
    record = json.loads(Path("lightning_logs/version_0/result.json").read_text())
    assert record["device"].startswith(device) and record["peak_memory_mb"] > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
class TestCUDA:
    @pytest.mark.parametrize(("precision", "likeness"), [("32-true", 0.999), ("bf16-mixed", 0.9), ("16-mixed", 0.9)])
    def test_a_precisions_gradient_points_where_the_cpus_does(
        self, make_segmenter: Make, precision: str, likeness: float
    ) -> None:
        gradients = []
        for device, own in (("cpu", "32-true"), ("cuda", precision)):
            running = on(make_segmenter(Raster(), penalty=0.0), device, own).begin(make_segmenter().input.pairs(), [0])
            with running.precision():
                total = running.terms(0)["total"].sum()
            total.backward()
            gradients.append(running.parameters()[0].grad.flatten().cpu())
        assert float(torch.cosine_similarity(*gradients, dim=0)) > likeness

    @pytest.mark.parametrize("overlay", ["gpu_bf16", "gpu_fp16"])
    def test_a_fit_under_an_overlay_with_its_real_scaler(self, fit_arguments: Any, overlay: str) -> None:
        arguments = [a for a in fit_arguments("rgb_bilateral.yaml") if not a.startswith("--trainer.")]
        more = [f"--config=trainers/{overlay}.yaml", "--model.iterations=12", "--trainer.enable_progress_bar=false"]
        assert main([*arguments, *more]) == 0
        record = json.loads(Path("lightning_logs/version_0/result.json").read_text())
        assert record["skipped_steps"] == 0 and record["device"].startswith("cuda")
        assert 0 < record["mean_alpha"] < 1

    @pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 3)])
    def test_the_compiled_filter_and_its_gradient_are_the_plain_ones(self, kernel: int, dilation: int) -> None:
        guide, x = torch.rand(2, 3, 40, 56, device="cuda"), torch.randn(2, 1, 40, 56, device="cuda")
        weights = pad_weights(bilateral_weights(guide, kernel, dilation=dilation), dilation)
        found = []
        for compiled in (False, True):
            own = x.clone().requires_grad_()
            out = bilateral_filter(own, weights, 20, compiled=compiled, dilation=dilation, error=0.002)
            out.square().sum().backward()
            found.append((out.detach(), own.grad))
        for plain, fused in zip(*found, strict=True):
            torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-5)

    def test_the_filter_is_compiled_by_default(self) -> None:
        pytest.importorskip("triton")
        assert Bilateral(Raster(), RGB())._compiled(torch.device("cuda"))
        assert not Bilateral(Raster(), RGB())._compiled(torch.device("cpu"))

    def test_a_compiled_teacher_gives_the_plain_gradient(self, pipeline: Path) -> None:
        image, found = torch.rand(1, 3, 16, 16, device="cuda"), []
        for compile in (False, True):
            loss = ScoreDistillation(Diffusion(str(pipeline), compile=compile), guidance=10.0).cuda()
            own = image.clone().requires_grad_()
            loss(own, ["a bear"], Draws([0], device="cuda")).sum().backward()
            found.append(own.grad)
        torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-3 * float(found[0].abs().max()))

    def test_nothing_is_left_on_the_device_that_is_not_needed(self, pipeline: Path) -> None:
        teacher = Diffusion(str(pipeline)).cuda()
        teacher.embed(["a bear"])
        assert {p.device.type for p in teacher.unet.parameters()} == {"cuda"}
        assert not any("decoder" in name and p.is_cuda for name, p in teacher.named_parameters())

    @pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device")
    def test_two_devices_share_a_fit(self, fit_arguments: Any, tmp_path: Path) -> None:
        arguments = [a for a in fit_arguments("rgb_bilateral.yaml") if not a.startswith("--trainer.")]
        command = [sys.executable, str(ROOT / "cli.py"), *arguments, "--config=trainers/gpus_ddp.yaml", "--trainer.devices=2"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=dict(os.environ), cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
        assert len(list(tmp_path.glob("lightning_logs/*/result.json"))) == 1

    @pytest.mark.parametrize("script", ["iteration.py --repeats 1 --pairs 1 --precision bf16-mixed", "bilateral.py --repeats 1"])
    def test_a_benchmark_runs_on_the_device(self, script: str, tmp_path: Path) -> None:
        name, *options = script.split()
        command = [sys.executable, str(ROOT / "benchmarks" / name), *options, "--device", "cuda"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-3000:]
        assert "cuda" in done.stdout.lower() or "NVIDIA" in done.stdout
