"""Editors of flow models side by side, and the curve over inject_steps: the promises of presets/promises with fewer pairs or other settings.

    python bench/edits.py --heddle build/heddle [--pairs 64] [--editors rf_edit fireflow rf_inversion flow_edit] [--mask none|found|told]
                          [--inject-steps 0 1 2 3 5 8 12] [--model emoji-mmdit] [--source emoji-unet] [--threads 1 --jobs 2]
    python bench/edits.py --plot TABLE docs/images/inject_steps.svg

Each editor is measured by `heddle promise` on two groups of cases: another colour, another animal. Prints a line for each editor and group, then for
each count of inject_steps of rf_edit: share edited, PSNR outside objects, share of both (25 dB), share in its place, seconds of a run's steps.
--mask: the whole picture may change, or what the two prompts disagree about, or what the judge sees in the picture.
--source has another model draw the pictures that are edited; --plot draws the curve over inject_steps from lines printed before.
"""
import argparse
import json
import math
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

PROMISES = Path(__file__).resolve().parents[1] / "presets" / "promises"
MASKS = {"none": {}, "found": {"find_mask": {"maps": 4, "grow": 1}}, "told": {"mask": "$mask"}}
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
        source = promise["method"]["source"]
        promise["method"]["source"] = {key: value for key, value in source.items() if "mask" not in key} | MASKS[args.mask]
        if args.source:
            promise["source"]["model"] = args.source
        path = Path(folder) / f"{name}.yaml"
        path.write_text(yaml.safe_dump(promise, sort_keys=False))
        subprocess.run([args.heddle, "promise", path, "--pairs", str(args.pairs), "--threads", str(args.threads), "--report", folder], check=True, stdout=subprocess.DEVNULL)
        record = json.loads((Path(folder) / "promises" / f"{name}.json").read_text())
    return record["groups"]


def line_of(label: str, group: dict) -> str:
    values, seconds = {m["metric"]: numbers(m["method"]) for m in group["metrics"]}, numbers(group["method_seconds"])
    cells = [cell(m, values[m]) for m in SHOWN] + [f"{sum(seconds) / len(seconds):.2f} s", str(len(values["edited"]))]
    return "| " + " | ".join([label, group["name"]] + cells) + " |"


Shown = tuple[float, float, float]  # a mean with the ends of its interval, % or dB


def shown_of(text: str) -> Shown:
    found = [float(v) for v in re.findall(r"[0-9.]+", text)]
    return (found[0], found[1], found[2]) if len(found) > 1 else (found[0],) * 3


def curve_of(table: str) -> dict[str, dict[int, list[Shown]]]:
    """Of printed lines those of the curve: by group and count of inject_steps the columns behind them."""
    curve: dict[str, dict[int, list[Shown]]] = {}
    for line in table.splitlines():
        cells = [c.strip() for c in line.strip("| ").split("|")]
        if label := re.fullmatch(r"rf_edit, inject_steps (\d+)", cells[0]):
            curve.setdefault(cells[1], {})[int(label[1])] = [shown_of(c) for c in cells[2:2 + len(SHOWN)]]
    return curve


def plot(table: str, path: str) -> None:
    """Shares with their intervals, and the PSNR beside them, over inject_steps."""
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "heddle"
    import matplotlib.pyplot as plt
    figure, (shares, psnr) = plt.subplots(1, 2, figsize=(9, 3.4))
    for i, (group, points) in enumerate(curve_of(table).items()):
        counts = sorted(points)
        column = {m: [points[c][SHOWN.index(m)] for c in counts] for m in SHOWN}
        for metric, style, label in (("edited", "-", "edited"), ("edited_in_place", "--", "edited, 25 dB outside"), ("place_kept", ":", "in its place")):
            shares.plot(counts, [v[0] for v in column[metric]], style, marker="o", ms=3, color=f"C{i}", label=f"{group}: {label}")
        shares.fill_between(counts, [v[1] for v in column["edited"]], [v[2] for v in column["edited"]], color=f"C{i}", alpha=0.12, lw=0)
        psnr.plot(counts, [v[0] for v in column["background_psnr"]], marker="o", ms=3, color=f"C{i}", label=group)
    shares.set(xlabel="inject_steps of 25", ylabel="% of cases", ylim=(0, 101))
    psnr.set(xlabel="inject_steps of 25", ylabel="PSNR outside objects, dB")
    shares.legend(fontsize=6, loc="lower left")
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
    parser.add_argument("--plot", nargs=2, metavar=("TABLE", "SVG"), help="draws the curve over inject_steps from lines printed before")
    parser.add_argument("--pairs", type=int, default=64, help="of each group")
    parser.add_argument("--editors", nargs="*", default=["rf_edit", "fireflow", "rf_inversion", "flow_edit"])
    parser.add_argument("--mask", choices=MASKS, default="found", help="where the picture may change")
    parser.add_argument("--inject-steps", nargs="*", type=int, default=[0, 1, 2, 3, 5, 8, 12], help="of rf_edit's 25")
    args = parser.parse_args()
    if args.plot:
        return plot(Path(args.plot[0]).read_text(), args.plot[1])
    print("| editor | cases | edited | outside objects | both | in its place | steps | pairs |\n|" + " --- |" * 8)
    tasks = [(name, name, load(name)) for name in args.editors]
    for count in args.inject_steps:
        promise = load("rf_edit")
        promise["method"]["attention"][0]["rf_edit"]["inject_steps"] = count
        tasks.append((f"rf_edit, inject_steps {count}", "rf_edit", promise))
    with ThreadPoolExecutor(args.jobs) as jobs:
        results = jobs.map(lambda task: measure(args, task[1], task[2]), tasks)
        for (label, _, _), groups in zip(tasks, results):
            print("\n".join(line_of(label, group) for group in groups), flush=True)


if __name__ == "__main__":
    main()
