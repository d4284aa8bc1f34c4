"""What an edit inside an object changes outside it, since the autoencoder decodes the whole picture: the least that blending of latents can reach.

    python bench/blend_floor.py [--pairs 24] [--model emoji-unet] [--seed 5] [--heddle build/heddle]

Draws pairs of one animal and another from the same noise. The latents of the first, with the cells inside both pictures' objects taken from the second, are
decoded by diffusers; the mean change of pixels outside all objects is put beside that of the second picture (the re-run that promises of edits compare with).
Needs torch, diffusers and Pillow.
"""
import argparse
import json
import random
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
import yaml
from diffusers import AutoencoderKL
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
MARGIN = 3  # pixels around an object that count as its own, as in `change_outside`


def draw(args, prompt: str, seed: int, folder: Path) -> Path:
    preset, drawn = folder / "preset.yaml", folder / f"{seed}-{prompt.replace(' ', '-')}.png"
    preset.write_text(f'heddle: 1\nmodel: {args.model}\nprompt: "{prompt}"\nseed: {seed}\nsampler: {{name: ddim, steps: 30, guidance: 3}}\n')
    subprocess.run([args.heddle, "run", preset, "-o", drawn], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return drawn


def boxes(args, picture: Path) -> list[list[float]]:
    said = subprocess.run([args.heddle, "judge", "--json", picture], check=True, capture_output=True, text=True).stdout
    return [o["box"] for o in json.loads(said.splitlines()[0])["objects"]]


def pixels(picture: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(picture).convert("RGB"))).float().permute(2, 0, 1)[None] / 127.5 - 1


@torch.no_grad()
def changes(args, vae, first: Path, second: Path) -> tuple[float, float]:
    """Mean change outside objects, of the range: of the second picture; of the first with the second's objects in its latents."""
    a, b = pixels(first), pixels(second)
    latents, other = vae.encode(a).latent_dist.mean, vae.encode(b).latent_dist.mean
    height, width = a.shape[-2:]
    cell = height // latents.shape[-2]
    outside, inside = np.ones((height, width), bool), torch.zeros(latents.shape[-2:], dtype=torch.bool)
    for x0, y0, x1, y1 in (np.clip(np.round(box), 0, max(height, width)).astype(int) for box in boxes(args, first) + boxes(args, second)):
        outside[max(0, y0 - MARGIN):y1 + MARGIN, max(0, x0 - MARGIN):x1 + MARGIN] = False
        inside[-(-y0 // cell):y1 // cell, -(-x0 // cell):x1 // cell] = True
    kept, edited = (vae.decode(z).sample.clamp(-1, 1) for z in (latents, torch.where(inside, other, latents)))
    return tuple(float(((u - v).abs().mean(1)[0].numpy() / 2)[outside].mean()) for u, v in ((a, b), (kept, edited)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--model", default="emoji-unet")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--heddle", default="build/heddle")
    args = parser.parse_args()
    world = yaml.safe_load((ROOT / "presets/promises/emoji-world.yaml").read_text())
    vae = AutoencoderKL.from_pretrained(ROOT / "models" / args.model / "vae", torch_dtype=torch.float32)
    rng, seen = random.Random(args.seed), []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(args.pairs):
            animals, where = rng.sample(world["own"], 2), rng.choice(list(world["backgrounds"].values()))
            seen.append(changes(args, vae, *(draw(args, f"{'an' if a[0] == 'o' else 'a'} {a} {where}", seed, Path(folder)) for a in animals)))
    rerun, floor = np.mean(seen, axis=0)
    print(f"{args.pairs} pairs: the re-run changes {rerun:.4f} of the range outside objects, the blend {floor:.4f}: {floor / rerun:.2f} of it")


if __name__ == "__main__":
    main()
