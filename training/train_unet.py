"""Trains the text encoder and the denoiser together on latents of a finished autoencoder.

    python training/train_unet.py training/configs/emoji-unet.yaml OUT --vae VAE_RUN/state.pt [--deadline HH:MM]

OUT holds latents, state.pt (resumed when present), log.jsonl and grids. Every batch is a function of (seed, step).
"""
import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from diffusers import DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

import tokenizer as tokenizer_files
from latents import load_vae, normalise, prepare, statistics
from pictures import save_grid
from progress import Average, Progress, learning_rate, save, write_log
from sampling import GRID_PROMPTS, decode, sample, tokens
from team import Team
from world.scenes import Options


def build(config: dict, tokenizer) -> tuple[CLIPTextModel, UNet2DConditionModel]:
    text = CLIPTextConfig(vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
                          pad_token_id=tokenizer.pad_token_id, **config["text"])
    return CLIPTextModel(text), UNet2DConditionModel(**config["unet"])


def noised(z, noise, t, alphas) -> tuple[torch.Tensor, torch.Tensor]:
    """The noisy latents and the velocity that the denoiser has to name."""
    a = alphas[t][:, None, None, None]
    signal, sigma = a.sqrt(), (1 - a).sqrt()
    return signal * z + sigma * noise, signal * noise - sigma * z


def draw(seed: tuple[int, int], step: int, z_all: np.ndarray, id_all: np.ndarray, size: int, dropout: float, empty: torch.Tensor):
    rng = np.random.default_rng((*seed, step))
    rows = np.sort(rng.integers(len(z_all), size=size))
    z = torch.from_numpy(z_all[rows].astype(np.float32))
    ids = torch.from_numpy(id_all[rows].astype(np.int64))
    ids[torch.from_numpy(rng.random(size) < dropout)] = empty[0]
    noise = torch.from_numpy(rng.standard_normal(z.shape, dtype=np.float32))
    # One time from each of `size` equal parts of the schedule: the loss varies less than with independent draws.
    t = torch.from_numpy(((rng.permutation(size) + rng.random(size)) * (1000 / size)).astype(np.int64))
    return z, ids, noise, t


def write_samples(path: Path, parts: torch.nn.ModuleDict, average: Average, vae, tokenizer, scheduler_config) -> None:
    kept = [p.detach().clone() for p in parts.parameters()]
    average.copy_to(parts)
    noise = torch.randn((len(GRID_PROMPTS), 4, 16, 16), generator=torch.Generator().manual_seed(7))
    with torch.autocast("cpu", torch.bfloat16):
        z = sample(parts["text"], parts["unet"], scheduler_config, tokens(tokenizer, GRID_PROMPTS), tokens(tokenizer, [""]), noise, 20)
        save_grid(path, decode(vae, z), 8)
    with torch.no_grad():
        for p, v in zip(parts.parameters(), kept):
            p.copy_(v)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--vae", type=Path, required=True, help="state.pt of a train_vae.py run")
    parser.add_argument("--deadline", help="end at this time of day instead of after `steps`")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each; part of what makes a run repeat")
    parser.add_argument("--grid-every", type=int, default=600, help="seconds of this run between sample grids")
    args = parser.parse_args()
    config = yaml.safe_load(open(args.config))
    vae_config = yaml.safe_load(open(args.config.parent / config["vae"]))["model"]
    options = Options(tuple(config["world"]["counts"]), config["world"]["object_share"])
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(config["seed"])

    tokenizer = tokenizer_files.write(args.out / "tokenizer")
    vae = load_vae(args.vae, vae_config).to(memory_format=torch.channels_last)
    vae = normalise(vae, *statistics(vae, options, args.out / "statistics.json"))
    z_all, id_all = prepare(args.out, vae, tokenizer, config["seed"], config["pictures"], options, args.workers)

    text, unet = build(config, tokenizer)
    parts = torch.nn.ModuleDict({"text": text, "unet": unet.to(memory_format=torch.channels_last)})
    optimizer = torch.optim.AdamW(parts.parameters(), betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    average = Average(parts, config["average"])
    alphas = DDIMScheduler(**config["scheduler"]).alphas_cumprod
    empty = tokens(tokenizer, [""])
    progress, step = Progress(config["steps"], args.deadline), 0
    if (args.out / "state.pt").exists():
        state = torch.load(args.out / "state.pt", weights_only=True)
        parts.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average.values, step, progress.value = state["average"], state["step"], state["progress"]

    def keep() -> None:
        save(args.out / "state.pt", {"model": parts.state_dict(), "optimizer": optimizer.state_dict(),
                                     "average": average.values, "step": step, "progress": progress.value})

    def loss_of(at: int, _: float, rank: int) -> torch.Tensor:
        z, ids, noise, t = draw((config["seed"], rank), at, z_all, id_all, config["batch"] // args.workers,
                                config["caption_dropout"], empty)
        x, target = noised(z, noise, t, alphas)
        with torch.autocast("cpu", torch.bfloat16):
            states = text(ids).last_hidden_state
            v = unet(x.contiguous(memory_format=torch.channels_last), t, encoder_hidden_states=states).sample
        return F.mse_loss(v.float(), target)

    team = Team(parts, args.workers, loss_of)
    saved, began, first, drawn, losses = time.process_time(), time.time(), step, time.time(), []
    while not progress.done:
        rate = learning_rate(config["learning_rate"], step, config["warmup"], progress.value)
        for group in optimizer.param_groups:
            group["lr"] = rate
        losses.append(team.step(step, progress.value))
        torch.nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        average.update(parts, step)
        progress.advance()
        if step % 50 == 0:
            write_log(args.out / "log.jsonl", step=step, progress=progress.value, lr=rate, loss=float(np.mean(losses)),
                      per_second=(step - first) * config["batch"] / (time.time() - began))
            losses = []
        if time.time() - drawn > args.grid_every:
            write_samples(args.out / f"grid-{step:06d}.png", parts, average, vae, tokenizer, config["scheduler"])
            drawn = time.time()
        if time.process_time() - saved > 100:  # CPU seconds, not wall time: a paused process has nothing new to save
            keep()
            saved = time.process_time()
    team.dismiss()
    keep()
    write_samples(args.out / f"grid-{step:06d}.png", parts, average, vae, tokenizer, config["scheduler"])


if __name__ == "__main__":
    main()
