"""Writes a train_mmdit.py run as an ordinary diffusers StableDiffusion3Pipeline folder in float16, without T5.

    python training/export_mmdit.py training/configs/emoji-mmdit.yaml RUN --vae models/emoji-unet/vae --to models/emoji-mmdit
"""
import argparse
from pathlib import Path

import torch
import yaml
from diffusers import FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline

import tokenizer as tokenizer_files
from export import write_folder
from latents import finished_vae
from progress import Average
from train_mmdit import build


def assemble(config_file: Path, run: Path, vae_folder: Path) -> StableDiffusion3Pipeline:
    config = yaml.safe_load(config_file.read_text())
    vae = finished_vae(vae_folder)
    vae.register_to_config(shift_factor=0.0)
    tokenizer = tokenizer_files.write(run / "tokenizer", length=config["text"]["max_position_embeddings"])
    text, transformer = build(config, tokenizer)
    parts = torch.nn.ModuleDict({"text": text, "transformer": transformer})
    average = Average(parts, 0)
    average.values = torch.load(run / "state.pt", weights_only=True)["average"]
    average.copy_to(parts)
    first, second = text.eval().encoders
    return StableDiffusion3Pipeline(transformer=transformer.eval(), scheduler=FlowMatchEulerDiscreteScheduler(**config["scheduler"]), vae=vae,
                                    text_encoder=first, tokenizer=tokenizer, text_encoder_2=second, tokenizer_2=tokenizer,
                                    text_encoder_3=None, tokenizer_3=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--vae", type=Path, required=True, help="the vae folder that the run was trained with")
    parser.add_argument("--to", type=Path, required=True)
    args = parser.parse_args()
    write_folder(assemble(args.config, args.run, args.vae), args.to, yaml.safe_load(args.config.read_text())["sampler"])


if __name__ == "__main__":
    main()
