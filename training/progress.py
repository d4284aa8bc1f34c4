"""How far a run is (0..1), its learning rate, its checkpoints and its log."""
import argparse
import json
import math
import os
import time
from contextlib import contextmanager
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


def run_options(description: str, show_every: int) -> argparse.ArgumentParser:
    """The command line that all trainers share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("config", type=Path)
    parser.add_argument("out", type=Path, help="the run's folder; a run found there is resumed")
    parser.add_argument("--deadline", metavar="HH:MM", help="end at this time of day instead of after `steps`")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each; part of what makes a run repeat")
    parser.add_argument("--from-progress", type=float, help="resume as if the run were this far (0..1), to go on from a finished one")
    parser.add_argument("--show-every", type=int, default=show_every, help="steps between sample grids or checks")
    return parser


class Run:
    """What a checkpoint holds: a module, its average, its optimizer and how far they are."""

    def __init__(self, module: torch.nn.Module, config: dict, args: argparse.Namespace):
        self.module, self.file, self.args = module, args.out / "state.pt", args
        self.optimizer = torch.optim.AdamW(module.parameters(), betas=(0.9, 0.99), weight_decay=0.01, fused=True)
        self.average = Average(module, config["average"])
        self.progress, self.step, self.config = Progress(config["steps"], args.deadline), 0, config
        if self.file.exists():
            state = torch.load(self.file, weights_only=True)
            module.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.values, self.step = state["average"], state["step"]
            self.progress.value = state["progress"] if args.from_progress is None else args.from_progress
        self.saved = time.process_time()

    def update(self) -> float:
        """One optimizer step from the gradients that lie in the module; returns the learning rate used."""
        rate = learning_rate(self.config["learning_rate"], self.step, self.config["warmup"], self.progress.value)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self.average.update(self.module, self.step)
        self.progress.advance()
        if time.process_time() - self.saved > 100:  # CPU seconds, not wall time: a paused process has nothing new to save
            self.keep()
        return rate

    def keep(self) -> None:
        """Written beside and renamed, so that a reader or a crash never meets half a file."""
        part = self.file.with_suffix(".part")
        torch.save({"model": self.module.state_dict(), "optimizer": self.optimizer.state_dict(), "average": self.average.values,
                    "step": self.step, "progress": self.progress.value}, part)
        os.replace(part, self.file)
        self.saved = time.process_time()

    @contextmanager
    def averaged(self):
        """The module with its averaged weights inside the block."""
        kept = [p.detach().clone() for p in self.module.parameters()]
        self.average.copy_to(self.module)
        yield
        with torch.no_grad():
            for p, v in zip(self.module.parameters(), kept):
                p.copy_(v)


def write_log(path: Path, **values) -> None:
    line = {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in values.items()}
    print(json.dumps(line), flush=True)
    with open(path, "a") as f:
        f.write(json.dumps(line) + "\n")
