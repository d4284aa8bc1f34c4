"""One gradient from several single-threaded processes that share the parameters.

On few cores this beats several threads in one process: threads wait for each other hundreds of times in a step, which is
ruinous as soon as anything else runs on the machine; processes wait once.
"""
import ctypes
import multiprocessing
import signal
from typing import Callable

import torch

context = multiprocessing.get_context("fork")


class Team:
    """`loss_of(step, progress, rank)` computes the loss of one member's part of the batch."""

    def __init__(self, module: torch.nn.Module, size: int, loss_of: Callable[[int, float, int], torch.Tensor]):
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        for p in module.parameters():
            p.data.share_memory_()
        self.size, self.loss_of = size, loss_of
        # A member's gradients lie in the memory order of the parameters (they may be channels-last).
        self.gradients = [[torch.empty_like(p).share_memory_() for p in self.parameters] for _ in range(size - 1)]
        self.losses = torch.zeros(size).share_memory_()
        self.now = torch.zeros(2, dtype=torch.float64).share_memory_()  # step, progress
        self.begin, self.end = context.Barrier(size), context.Barrier(size)
        self.members = [context.Process(target=self._member, args=(rank,), daemon=True) for rank in range(1, size)]
        for m in self.members:
            m.start()

    def _compute(self, step: int, progress: float, rank: int) -> None:
        loss = self.loss_of(step, progress, rank)
        loss.backward()
        self.losses[rank] = loss.detach()

    def _member(self, rank: int) -> None:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no member outlives the run
        while True:
            self.begin.wait()
            self._compute(int(self.now[0]), float(self.now[1]), rank)
            for kept, p in zip(self.gradients[rank - 1], self.parameters):
                kept.copy_(p.grad if p.grad is not None else torch.zeros_like(p))
                p.grad = None
            self.end.wait()

    def step(self, step: int, progress: float) -> float:
        """Leaves the mean gradient of all members in the parameters; returns their mean loss."""
        self.now[0], self.now[1] = step, progress
        if self.size > 1:
            self.begin.wait()
        self._compute(step, progress, 0)
        if self.size > 1:
            self.end.wait()
        mine = [p.grad for p in self.parameters]
        for theirs in self.gradients:
            torch._foreach_add_(mine, theirs)
        torch._foreach_div_(mine, float(self.size))
        return float(self.losses.mean())

    def dismiss(self) -> None:
        for m in self.members:
            m.terminate()
            m.join()
