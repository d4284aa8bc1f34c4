"""Trains the text encoder and the denoiser together on latents of a finished autoencoder.

    python training/train_unet.py training/configs/emoji-unet.yaml OUT --vae VAE_RUN/state.pt [--begin-with MODEL] [--deadline HH:MM]

OUT holds latents, state.pt (resumed when present), log.jsonl and grids. Every batch is a function of (seed, step).
"""
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextConfig, CLIPTextModel

import tokenizer as tokenizer_files
from latents import prepare, vae_of
from loop import train
from precision import autocast
from progress import Run, run_options
from sampling import sample, tokens, write_samples
from world.scenes import Options


def build(config: dict, tokenizer) -> tuple[CLIPTextModel, UNet2DConditionModel]:
    text = CLIPTextConfig(vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
                          pad_token_id=tokenizer.pad_token_id, **config["text"])
    return CLIPTextModel(text), UNet2DConditionModel(**config["unet"])


def load_exported(parts: torch.nn.ModuleDict, folder: Path) -> None:
    """The weights of a folder that export.py wrote."""
    parts["text"].load_state_dict(CLIPTextModel.from_pretrained(folder / "text_encoder").state_dict())
    parts["unet"].load_state_dict(UNet2DConditionModel.from_pretrained(folder / "unet").state_dict())


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
    # The power favours the noisy times, where shapes are decided.
    share = (rng.permutation(size) + rng.random(size)) / size
    t = torch.from_numpy((1000 * share ** 0.65).astype(np.int64))
    return z, ids, noise, t


def draw_samples(run: Run, ids: torch.Tensor, empty: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    return sample(run.module["text"], run.module["unet"], run.config["scheduler"], ids, empty, noise, 20)


def main() -> None:
    parser = run_options(__doc__.splitlines()[0], 1000)
    parser.add_argument("--vae", type=Path, required=True, help="state.pt of a train_vae.py run, or an exported model's vae folder")
    parser.add_argument("--begin-with", type=Path, metavar="MODEL", help="an exported model whose weights a new run begins with")
    args = parser.parse_args()
    config = yaml.safe_load(args.config.read_text())
    vae_config = yaml.safe_load((args.config.parent / config["vae"]).read_text())["model"]
    options = Options.of(config["world"])
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(config["seed"])

    tokenizer = tokenizer_files.write(args.out / "tokenizer")
    vae = vae_of(args.vae, vae_config, options, args.out / "statistics.json")
    z_all, id_all = prepare(args.out, vae, tokenizer, config["seed"], config["pictures"], options, args.workers)

    text, unet = build(config, tokenizer)
    # Plain matrix products: at these sizes the backward pass of torch's fused attention took a quarter of a step.
    unet.set_attn_processor(AttnProcessor())
    text.set_attn_implementation("eager")
    parts = torch.nn.ModuleDict({"text": text, "unet": unet.to(memory_format=torch.channels_last)})
    if args.begin_with:
        load_exported(parts, args.begin_with)
    run = Run(parts, config, args)
    alphas = DDIMScheduler(**config["scheduler"]).alphas_cumprod
    empty = tokens(tokenizer, [""])

    def loss_of(step: int, _: float, rank: int) -> torch.Tensor:
        z, ids, noise, t = draw((config["seed"], rank), step, z_all, id_all, config["batch"] // args.workers,
                                config["caption_dropout"], empty)
        x, target = noised(z, noise, t, alphas)
        with autocast():
            states = text(ids).last_hidden_state
            v = unet(x.contiguous(memory_format=torch.channels_last), t, encoder_hidden_states=states).sample
        return F.mse_loss(v.float(), target)

    train(run, loss_of, lambda: write_samples(run, vae, tokenizer, draw_samples), 50, args.show_every)


if __name__ == "__main__":
    main()
