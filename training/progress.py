"""How far a run is (0..1), its learning rate, its checkpoints and its log."""
import json
import math
import os
import time
from datetime import datetime, timedelta
from pathlib import Path

import torch


class Progress:
    """Counts steps towards `total`; with a deadline, each step instead moves by its share of the time that is left.

    The second way ends on time, with the learning rate fully decayed, however busy the machine is and however long
    the process was paused. The first way is the one that repeats exactly.
    """

    def __init__(self, total: int, deadline: str | None):
        self.total, self.value, self.clock = total, 0.0, time.time()
        self.end = None
        if deadline:
            hour, minute = map(int, deadline.split(":"))
            end = datetime.now().replace(hour=hour, minute=minute, second=0)
            self.end = (end if end > datetime.now() else end + timedelta(days=1)).timestamp()

    def advance(self) -> None:
        if self.end is None:
            self.value += 1 / self.total
            return
        now = time.time()
        self.value += (1 - self.value) * min(1.0, (now - self.clock) / max(self.end - self.clock, 1e-3))
        self.clock = now

    @property
    def done(self) -> bool:
        return self.value >= 1 - 1e-9 or (self.end is not None and time.time() >= self.end)


def learning_rate(peak: float, step: int, warmup: int, progress: float) -> float:
    return peak * min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


class Average:
    """Exponential moving average of parameters; young averages follow faster."""

    def __init__(self, module: torch.nn.Module, decay: float):
        self.decay, self.values = decay, [p.detach().clone() for p in module.parameters()]

    @torch.no_grad()
    def update(self, module: torch.nn.Module, step: int) -> None:
        decay = min(self.decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(self.values, [p.detach() for p in module.parameters()], 1 - decay)

    @torch.no_grad()
    def copy_to(self, module: torch.nn.Module) -> None:
        for p, v in zip(module.parameters(), self.values):
            p.copy_(v)


def save(path: Path, state: dict) -> None:
    """Written beside and renamed, so that a reader or a crash never meets half a file."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def write_log(path: Path, **values) -> None:
    line = {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in values.items()}
    print(json.dumps(line), flush=True)
    with open(path, "a") as f:
        f.write(json.dumps(line) + "\n")
