"""From a trained autoencoder to what the denoiser learns from: a normalised VAE and files of latents and token ids."""
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.lib.format import open_memmap

from pictures import batch
from precision import autocast
from progress import Average
from team import context
from world.captions import caption
from world.scenes import Options, sample_scene

STATISTICS_SEED, STATISTICS_PICTURES = 900_002, 2048


def load_vae(state_file: Path, model_config: dict) -> AutoencoderKL:
    """The averaged weights of a train_vae.py run."""
    vae = AutoencoderKL(**model_config)
    average = Average(vae, 0)
    average.values = torch.load(state_file, weights_only=True)["average"]
    average.copy_to(vae)
    return vae.eval().requires_grad_(False)


def vae_of(source: Path, model_config: dict, options: Options, statistics_file: Path) -> AutoencoderKL:
    """Latents of unit size, from state.pt of a train_vae.py run or from an exported model's vae folder."""
    if source.is_dir():
        return finished_vae(source)
    vae = load_vae(source, model_config).to(memory_format=torch.channels_last)
    return normalise(vae, *statistics(vae, options, statistics_file))


def finished_vae(folder: Path) -> AutoencoderKL:
    """The autoencoder of an exported model, its latents already of unit size."""
    return AutoencoderKL.from_pretrained(folder).eval().requires_grad_(False).to(memory_format=torch.channels_last)


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: torch.Tensor) -> torch.Tensor:
    with autocast():
        h = vae.encoder(pictures.contiguous(memory_format=torch.channels_last))
    return vae.quant_conv(h.float()).chunk(2, 1)[0]


def statistics(vae: AutoencoderKL, options: Options, file: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each latent channel; kept in `file`, since a decoder tuned later must share them."""
    if not file.exists():
        z = torch.cat([encode(vae, batch(STATISTICS_SEED, i, 32, options)) for i in range(0, STATISTICS_PICTURES, 32)])
        file.write_text(json.dumps({"mean": z.mean((0, 2, 3)).tolist(), "std": z.std((0, 2, 3)).tolist()}))
    kept = json.loads(file.read_text())
    return torch.tensor(kept["mean"]), torch.tensor(kept["std"])


@torch.no_grad()
def normalise(vae: AutoencoderKL, mean: torch.Tensor, std: torch.Tensor) -> AutoencoderKL:
    """Folds (z - mean) / std into the two 1x1 convolutions, so that scaling_factor 1 is right for every channel."""
    n = len(mean)
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.weight[:n] /= std[:, None, None, None]
    quant.bias[:n] = (quant.bias[:n] - mean) / std
    quant.bias[n:] -= 2 * std.log()
    post.bias += post.weight[:, :, 0, 0] @ mean
    post.weight *= std[None, :, None, None]
    vae.register_to_config(scaling_factor=1.0)
    return vae


def prepare(folder: Path, vae: AutoencoderKL, tokenizer, seed: int, count: int, options: Options,
            workers: int) -> tuple[np.ndarray, np.ndarray]:
    """Memory-mapped latents [count, 4, 16, 16] float16 and ids [count, 77] int16; continues where it was interrupted."""
    z_file, id_file, mark = folder / "latents.npy", folder / "ids.npy", folder / "encoded.txt"
    side = vae.config.sample_size // 2 ** (len(vae.config.block_out_channels) - 1)
    mode = "r+" if z_file.exists() else "w+"
    shape = dict(shape=(count, vae.config.latent_channels, side, side), dtype=np.float16) if mode == "w+" else {}
    z = open_memmap(z_file, mode=mode, **shape)
    ids = open_memmap(id_file, mode=mode, **(dict(shape=(count, tokenizer.model_max_length), dtype=np.int16) if mode == "w+" else {}))
    done = int(mark.read_text()) if mark.exists() else 0

    def fill(rank: int, first: int, end: int) -> None:
        for i in range(first + 32 * rank, end, 32 * workers):
            n = min(32, end - i)
            z[i:i + n] = encode(vae, batch(seed, i, n, options)).half().numpy()
            texts = [caption(sample_scene(seed, i + k, options)) for k in range(n)]
            ids[i:i + n] = tokenizer(texts, padding="max_length", truncation=True, return_tensors="np").input_ids

    for first in range(done, count, 2000):
        end = min(first + 2000, count)
        members = [context.Process(target=fill, args=(rank, first, end)) for rank in range(workers)]
        for m in members:
            m.start()
        for m in members:
            m.join()
            assert m.exitcode == 0, "a worker died while encoding"
        mark.write_text(str(end))
        print(f"encoded {end} of {count}", flush=True)
    return z, ids
