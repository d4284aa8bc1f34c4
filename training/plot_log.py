"""Draws the curves of a run's log.jsonl:  python training/plot_log.py RUN/log.jsonl OUT.png"""
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

CURVES = ("loss", "kl", "psnr", "colour_error", "lr")


def main(log: str, out: str) -> None:
    lines = [json.loads(line) for line in open(log)]
    curves = {k: [(line["step"], line[k]) for line in lines if k in line] for k in CURVES}
    curves = {k: v for k, v in curves.items() if v}
    figure, axes = plt.subplots(1, len(curves), figsize=(4 * len(curves), 3), squeeze=False, layout="constrained")
    for axis, (name, points) in zip(axes[0], curves.items()):
        axis.plot(*zip(*points))
        axis.set_title(name)
        axis.set_xlabel("step")
        if name == "loss":
            axis.set_yscale("log")
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    main(*sys.argv[1:3])
