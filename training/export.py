"""Writes trained parts as an ordinary diffusers StableDiffusionPipeline folder in float16.

    python training/export.py training/configs/emoji-unet.yaml UNET_RUN --vae VAE_RUN/state.pt --to models/emoji-unet

UNET_RUN/statistics.json must be the one the denoiser was trained with; the VAE may have had its decoder tuned since.
With --untrained the denoiser has random weights (to try a folder's shape).
"""
import argparse
import json
from pathlib import Path

import torch
import yaml
from diffusers import DDIMScheduler, StableDiffusionPipeline

import tokenizer as tokenizer_files
from latents import vae_of
from progress import Average
from train_unet import build
from world.scenes import Options


def assemble(config_file: Path, run: Path, vae_state: Path, untrained: bool = False) -> StableDiffusionPipeline:
    config = yaml.safe_load(open(config_file))
    vae_config = yaml.safe_load(open(config_file.parent / config["vae"]))["model"]
    options = Options.of(config["world"])
    vae = vae_of(vae_state, vae_config, options, run / "statistics.json")
    tokenizer = tokenizer_files.write(run / "tokenizer")
    torch.manual_seed(config["seed"])
    text, unet = build(config, tokenizer)
    if not untrained:
        parts = torch.nn.ModuleDict({"text": text, "unet": unet})
        average = Average(parts, 0)
        average.values = torch.load(run / "state.pt", weights_only=True)["average"]
        average.copy_to(parts)
    return StableDiffusionPipeline(vae=vae, text_encoder=text.eval(), tokenizer=tokenizer, unet=unet.eval(),
                                   scheduler=DDIMScheduler(**config["scheduler"]), safety_checker=None, feature_extractor=None,
                                   requires_safety_checker=False)


def write_folder(pipeline, folder: Path, sampler: dict) -> None:
    """The pipeline in float16, as every reader of diffusers folders expects it, and what heddle is to sample with unless it is told."""
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    # transformers loads a text encoder in the type its configuration names, diffusers everything else in float32: without
    # this, from_pretrained(folder) alone would mix the two.
    for text_config in folder.glob("text_encoder*/config.json"):
        text_config.write_text(json.dumps({**json.loads(text_config.read_text()), "dtype": "float32"}, indent=2) + "\n")
    # The tokenizer's own two files are what every reader of Stable Diffusion folders knows.
    for tokenizer in folder.glob("tokenizer*"):
        tokenizer_files.write(tokenizer, length=json.loads((tokenizer / "tokenizer_config.json").read_text())["model_max_length"])
    (folder / "heddle.json").write_text(json.dumps({"sampler": sampler}, indent=2) + "\n")
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    print(json.dumps({"folder": str(folder), "MB": round(size / 1e6, 2)}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--vae", type=Path, required=True, help="state.pt of a train_vae.py run, or an exported model's vae folder")
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--untrained", action="store_true")
    args = parser.parse_args()
    args.run.mkdir(parents=True, exist_ok=True)
    write_folder(assemble(args.config, args.run, args.vae, args.untrained), args.to, yaml.safe_load(args.config.read_text())["sampler"])


if __name__ == "__main__":
    main()
