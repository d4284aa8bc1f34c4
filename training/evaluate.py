"""Figures and sheets of an exported folder, through diffusers itself.

    python training/evaluate.py models/emoji-unet vae               PSNR and colour error on 512 unseen renders
    python training/evaluate.py models/emoji-unet sheet OUT.png     one-subject pictures and, beside them, OUT.txt with their captions
    python training/evaluate.py models/emoji-unet prompt OUT.png --prompt "a cat on grass" --seeds 0 16
"""
import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from pictures import batch, colour_error, psnr, save_grid
from world.captions import caption
from world.scenes import Options, sample_scene

UNSEEN_SEED = 900_003
ONE_SUBJECT = Options(counts=(1.0, 0.0, 0.0))


def load(folder: Path) -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def vae_figures(pipeline, count: int) -> dict:
    """As `world` in the denoiser's configuration: mostly one subject."""
    figures = {"psnr": 0.0, "colour_error": 0.0}
    for i in range(0, count, 16):
        x = batch(UNSEEN_SEED, i, 16, Options())
        y = pipeline.vae.decode(pipeline.vae.encode(x).latent_dist.mode()).sample
        figures["psnr"] += psnr(y, x) * 16 / count
        figures["colour_error"] += colour_error(y, x) * 16 / count
    return {k: round(v, 4) for k, v in figures.items()}


@torch.no_grad()
def draw(pipeline, prompts: list[str], seeds: list[int], steps: int, guidance: float) -> torch.Tensor:
    """One picture a prompt, each from torch.Generator().manual_seed(seed), so that any of them can be drawn alone."""
    shape = (1, 4, pipeline.unet.config.sample_size, pipeline.unet.config.sample_size)
    noise = torch.cat([torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in seeds])
    parts = []
    for i in range(0, len(prompts), 16):
        out = pipeline(prompts[i:i + 16], latents=noise[i:i + 16], num_inference_steps=steps, guidance_scale=guidance, output_type="pt")
        parts.append(out.images)
    return torch.cat(parts) * 2 - 1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("task", choices=("vae", "sheet", "prompt"))
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--prompt", default="a cat and a red balloon on grass")
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 16), metavar=("FIRST", "END"))
    parser.add_argument("--count", type=int, default=512)
    parser.add_argument("--held-out", action="store_true", help="sheet of combinations never seen in training")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--guidance", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    pipeline = load(args.folder)
    if args.task == "vae":
        print(json.dumps(vae_figures(pipeline, args.count)))
        return
    if args.task == "sheet":
        options = replace(ONE_SUBJECT, held_out=args.held_out)
        seeds = list(range(*args.seeds))
        prompts = [caption(sample_scene(UNSEEN_SEED, i, options)) for i in seeds]
    else:
        seeds = list(range(*args.seeds))
        prompts = [args.prompt] * len(seeds)
    save_grid(args.out, draw(pipeline, prompts, seeds, args.steps, args.guidance), 8)
    args.out.with_suffix(".txt").write_text("".join(f"{s}\t{p}\n" for s, p in zip(seeds, prompts)))


if __name__ == "__main__":
    main()
