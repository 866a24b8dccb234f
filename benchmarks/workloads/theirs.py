"""PyTorch at its best: denormals flushed, fused Adam, TF32 and bfloat16 where they are asked for.

Numbers below the normal range, which training makes, cost PyTorch a multiple of the time of others
on a CPU unless they are flushed to zero. `DGMJAX_TORCH_DEVICE` names another device than the CPU.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.workload import Operation, Prepared

DEVICE = os.environ.get("DGMJAX_TORCH_DEVICE", "cpu")
VARIANTS = ("float32", "bfloat16", "compiled")
TORCH = ("torch", ("torch", "numpy"))
"""Environment and packages of a side."""


def ready() -> Any:
    """The module `torch`, set up."""
    import torch

    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    if DEVICE == "cpu":
        torch.set_num_threads(1)
    else:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    return torch


@dataclass(frozen=True)
class Problem:
    """What is trained.

    Attributes:
      modules: an `nn.Module` with all parameters.
      loss: of a batch, a scalar.
      data: all rows, one tensor.
      batch: rows of a step.
      rate: of Adam.
      channels_last: whether images are laid out so, which tensor cores want.
    """

    modules: Any
    loss: Callable[[Any], Any]
    data: Any
    batch: int
    rate: float = 1e-3
    channels_last: bool = False

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.modules.parameters())


def training(problem: Problem, variant: str = "float32") -> Operation:
    """n epochs of a plain loop: one permutation, indexed batches, fused Adam.

    "bfloat16" computes under autocast, "compiled" is `torch.compile` of the loss.
    """
    import torch

    modules, data = problem.modules.to(DEVICE), problem.data.to(DEVICE)
    if problem.channels_last and DEVICE != "cpu":
        modules = modules.to(memory_format=torch.channels_last)
        data = data.contiguous(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(modules.parameters(), lr=problem.rate, fused=True)
    loss_of = torch.compile(problem.loss) if variant == "compiled" else problem.loss
    lower = torch.autocast(DEVICE, torch.bfloat16) if variant == "bfloat16" else None

    def epochs(n: int) -> None:
        for _ in range(n):
            for rows in torch.randperm(len(data), device=DEVICE).split(problem.batch):
                with lower or contextlib.nullcontext():
                    loss = loss_of(data[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        waited()

    return epochs


def waited() -> None:
    """Returns when the device has done everything."""
    import torch

    if DEVICE != "cpu":
        torch.cuda.synchronize()


def side(problem_of: Callable[[bool], Problem], unit: str, variant: str, tiny: bool) -> Prepared:
    """A side that only trains."""
    ready()
    problem = problem_of(tiny)
    return Prepared({unit: training(problem, variant)}, {"parameters": problem.parameters})
