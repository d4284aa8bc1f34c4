"""The loop that every trainer runs: steps of a team, the log, and what is shown now and then."""
import time
from typing import Callable

import numpy as np

from progress import Run, write_log
from team import Team


def train(run: Run, loss_of: Callable, show: Callable[[], None], log_every: int, show_every: int) -> None:
    """To the end of the run; then keeps it and shows once more. `loss_of` as Team has it."""
    team = Team(run.module, run.args.workers, loss_of)
    began, first, losses = time.time(), run.step, []
    while not run.progress.done:
        losses.append(team.step(run.step, run.progress.value))
        rate = run.update()
        if run.step % log_every == 0:
            write_log(run.args.out / "log.jsonl", step=run.step, progress=run.progress.value, lr=rate, loss=float(np.mean(losses)),
                      steps_per_second=(run.step - first) / (time.time() - began))
            losses = []
        if run.step % show_every == 0:
            show()
    team.dismiss()
    run.keep()
    show()
