"""Editors of flow models side by side, and the curve over inject_steps: the promises of presets/promises with fewer pairs or other settings.

    python bench/edits.py --heddle build/heddle [--pairs 64] [--editors rf_edit fireflow rf_inversion flow_edit] [--inject-steps 0 1 2 3 5 8 12]
                          [--model emoji-mmdit] [--source emoji-unet] [--threads 1 --jobs 2] [--plot docs/images/inject_steps.svg]

Each editor is measured by `heddle promise` on two groups of cases: another colour, another animal. Prints a line for each editor and group, then for
each count of inject_steps of rf_edit: share edited, PSNR outside objects, share of both (25 dB), share in its place, seconds of a run's steps.
--source has another model draw the pictures that are edited; --plot draws the curve over inject_steps.
"""
import argparse
import json
import math
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

PROMISES = Path(__file__).resolve().parents[1] / "presets" / "promises"
SHOWN = ["edited", "background_psnr", "edited_in_place", "place_kept"]


def wilson(values: list[float]) -> tuple[float, float]:
    """The 95 % interval of a rate."""
    n, p, z = len(values), sum(values) / len(values), 1.959964
    middle, half = (p + z * z / (2 * n)) / (1 + z * z / n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return middle - half, middle + half


def numbers(text: str) -> list[float]:
    """A record's values; where the question did not arise there is none."""
    return [float(v) for v in text.split(",") if v]


def cell(metric: str, values: list[float]) -> str:
    if not values:
        return "-"
    mean = sum(values) / len(values)
    if metric == "background_psnr":
        return f"{mean:.1f} dB"
    low, high = wilson(values)
    return f"{100 * mean:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def load(name: str) -> dict:
    return yaml.safe_load((PROMISES / f"{name}.yaml").read_text())


def measure(args, name: str, promise: dict) -> list[dict]:
    """One promise: the groups of its record. Its plain runs are not shown, and short."""
    with tempfile.TemporaryDirectory() as folder:
        promise = dict(promise, world=str(PROMISES / "emoji-world"))
        promise["preset"]["model"] = args.model
        promise["plain"] = dict(sampler=dict(steps=1))
        if args.source:
            promise["source"]["model"] = args.source
        path = Path(folder) / f"{name}.yaml"
        path.write_text(yaml.safe_dump(promise, sort_keys=False))
        subprocess.run([args.heddle, "promise", path, "--pairs", str(args.pairs), "--threads", str(args.threads), "--report", folder], check=True, stdout=subprocess.DEVNULL)
        record = json.loads((Path(folder) / "promises" / f"{name}.json").read_text())
    return record["groups"]


def show(label: str, groups: list[dict]) -> dict[str, dict[str, list[float]]]:
    """Prints a line a group, returns each group's values by metric."""
    values = {g["name"]: {m["metric"]: numbers(m["method"]) for m in g["metrics"]} for g in groups}
    for group in groups:
        of, seconds = values[group["name"]], numbers(group["method_seconds"])
        cells = [cell(m, of[m]) for m in SHOWN] + [f"{sum(seconds) / len(seconds):.2f} s", str(len(of["edited"]))]
        print("| " + " | ".join([label, group["name"]] + cells) + " |", flush=True)
    return values


def plot(curve: dict[int, dict[str, dict[str, list[float]]]], path: str) -> None:
    """Shares with their intervals, and the PSNR beside them, over inject_steps."""
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "heddle"
    import matplotlib.pyplot as plt
    counts = sorted(curve)
    figure, (shares, psnr) = plt.subplots(1, 2, figsize=(9, 3.4))
    for i, group in enumerate(curve[counts[0]]):
        for metric, style in (("edited", "-"), ("edited_in_place", "--")):
            values = [curve[c][group][metric] for c in counts]
            means = [100 * sum(v) / len(v) for v in values]
            low, high = zip(*[wilson(v) for v in values])
            label = f"{group}, edited" + (" and 25 dB outside" if metric == "edited_in_place" else "")
            shares.plot(counts, means, style, marker="o", ms=3, color=f"C{i}", label=label)
            if metric == "edited":
                shares.fill_between(counts, [100 * v for v in low], [100 * v for v in high], color=f"C{i}", alpha=0.15, lw=0)
        psnr.plot(counts, [sum(curve[c][group]["background_psnr"]) / len(curve[c][group]["background_psnr"]) for c in counts], marker="o", ms=3,
                  color=f"C{i}", label=group)
    shares.set(xlabel="inject_steps of 25", ylabel="% of cases", ylim=(0, 101))
    psnr.set(xlabel="inject_steps of 25", ylabel="PSNR outside objects, dB")
    shares.legend(fontsize=7, loc="lower left")
    psnr.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--heddle", default="build/heddle")
    parser.add_argument("--model", default="emoji-mmdit")
    parser.add_argument("--source", help="model that draws the pictures; without it the promises' own")
    parser.add_argument("--threads", type=int, default=0, help="of heddle; 0: all cores")
    parser.add_argument("--jobs", type=int, default=1, help="promises measured at a time")
    parser.add_argument("--plot", help="SVG file of the curve over inject_steps")
    parser.add_argument("--pairs", type=int, default=64, help="of each group")
    parser.add_argument("--editors", nargs="*", default=["rf_edit", "fireflow", "rf_inversion", "flow_edit"])
    parser.add_argument("--inject-steps", nargs="*", type=int, default=[0, 1, 2, 3, 5, 8, 12], help="of rf_edit's 25")
    args = parser.parse_args()
    print("| editor | cases | edited | outside objects | both | in its place | steps | pairs |\n|" + " --- |" * 8)
    tasks = [(name, name, load(name)) for name in args.editors]
    for count in args.inject_steps:
        promise = load("rf_edit")
        promise["method"]["attention"][0]["rf_edit"]["inject_steps"] = count
        tasks.append((f"rf_edit, inject_steps {count}", "rf_edit", promise))
    with ThreadPoolExecutor(args.jobs) as jobs:
        results = jobs.map(lambda task: measure(args, task[1], task[2]), tasks)
        shown = [show(label, groups) for (label, _, _), groups in zip(tasks, results)]
    curve = dict(zip(args.inject_steps, shown[len(args.editors):]))
    if args.plot and curve:
        plot(curve, args.plot)


if __name__ == "__main__":
    main()
