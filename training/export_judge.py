"""Writes a trained detector as the folder that `heddle judge` reads: config.json and model.safetensors in float16.

    python training/export_judge.py training/configs/emoji-judge.yaml JUDGE_RUN --to models/emoji-judge
"""
import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

from judge.damage import NAMES
from judge.network import BOX_UNIT, CELL, Judge
from judge.scenes import COLOUR_NAMES
from judge.verdict import Thresholds
from progress import Average
from train_judge import build
from world.backgrounds import BACKGROUNDS
from world.scenes import SIZE


def write(judge: Judge, config: dict, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    keys = {"_class_name": "EmojiJudge", "picture": SIZE, "cell": CELL, "box_unit": BOX_UNIT, "head_blocks": len(judge.blocks),
            **config["model"], "thresholds": asdict(Thresholds()), "subjects": NAMES, "colours": COLOUR_NAMES, "backgrounds": BACKGROUNDS}
    (folder / "config.json").write_text(json.dumps(keys, indent=1) + "\n")
    save_file({k: v.detach().half().contiguous() for k, v in judge.state_dict().items()}, folder / "model.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    args = parser.parse_args()
    config = yaml.safe_load(args.config.read_text())
    judge = build(config)
    average = Average(judge, 0)
    average.values = torch.load(args.run / "state.pt", weights_only=True)["average"]
    average.copy_to(judge)
    write(judge, config, args.to)


if __name__ == "__main__":
    main()
