"""Trains the autoencoder on rendered scenes.

    python training/train_vae.py training/configs/emoji-unet-vae.yaml OUT [--deadline HH:MM] [--decoder-only]

OUT holds state.pt (resumed when present), log.jsonl and grids. Every batch is a function of (seed, step).
"""
import torch
import torch.nn.functional as F
import yaml
from diffusers import AutoencoderKL

from loop import train
from pictures import batch, crops, colour_error, psnr, save_grid
from precision import autocast
from progress import Run, run_options, write_log
from world.scenes import Options

CHECK_SEED = 900_001  # scenes that training never sees


def encode(vae: AutoencoderKL, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mean, logvar = vae.quant_conv(vae.encoder(x)).float().chunk(2, 1)
    return mean, logvar.clamp(-30, 20)


def decode(vae: AutoencoderKL, z: torch.Tensor) -> torch.Tensor:
    return vae.decoder(vae.post_quant_conv(z)).float()


def picture_loss(y: torch.Tensor, x: torch.Tensor, square_weight: float) -> torch.Tensor:
    """L1 for sharpness, pooled L1 for colours, differences of neighbours for edges, squares against rare large errors."""
    d = y - x
    edges = (d[..., 1:, :] - d[..., :-1, :]).abs().mean() + (d[..., 1:] - d[..., :-1]).abs().mean()
    half = F.avg_pool2d(d, 2)
    return d.abs().mean() + half.abs().mean() + 2 * F.avg_pool2d(half, 2).abs().mean() + 0.15 * edges + square_weight * d.square().mean()


def colour_loss(mean: torch.Tensor, x: torch.Tensor, scale: float) -> torch.Tensor:
    """How far the first three latent channels are from the mean colour of the pixels they stand for.

    Left alone, a small autoencoder spends its first hours on outlines and paints everything in one colour.
    """
    return F.l1_loss(mean[:, :3], scale * F.avg_pool2d(x, x.shape[-1] // mean.shape[-1]))


def train_step(vae, x, config: dict, progress: float, generator) -> torch.Tensor:
    with autocast():
        mean, logvar = encode(vae, x)
        z = mean + torch.exp(0.5 * logvar) * torch.randn(mean.shape, generator=generator)
        y = decode(vae, z)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    colour = colour_loss(mean, x, config["colour_latents"]["scale"])
    hold = max(0.0, 1 - progress / config["colour_latents"]["until"])
    return picture_loss(y, x, config["square_weight"]) + config["kl_weight"] * kl + hold * colour


def pictures(config: dict, options: Options, step: int, progress: float, rank: int, workers: int) -> torch.Tensor:
    """One worker's share of a step: squares around subjects at first, whole pictures later."""
    cut = config["crops"] if progress < config["crops"]["until"] else None
    n = (cut or config)["batch"]
    start = (step * workers + rank) * n
    x = crops(config["seed"], start, n, options, cut["side"]) if cut else batch(config["seed"], start, n, options)
    return x.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def check(vae: AutoencoderKL, run: Run, options: Options) -> dict:
    """Figures of the averaged weights on unseen pictures, and a grid of originals beside what is decoded."""
    x = batch(CHECK_SEED, 0, 32, options)
    with run.averaged():
        mean, logvar = encode(vae, x)
        y = decode(vae, mean)
    pairs = torch.stack([x[:24], y[:24]], 1).flatten(0, 1)
    save_grid(run.args.out / f"grid-{run.step:06d}.png", pairs, 8)
    return {"psnr": psnr(y, x), "colour_error": colour_error(y, x), "std": [round(float(s), 3) for s in mean.std((0, 2, 3))],
            "noise": [round(float(s), 3) for s in torch.exp(0.5 * logvar).mean((0, 2, 3))]}


def main() -> None:
    parser = run_options(__doc__.splitlines()[0], 600)
    parser.add_argument("--decoder-only", action="store_true", help="keep the latents as they are (for a finished denoiser)")
    args = parser.parse_args()
    config = yaml.safe_load(args.config.read_text())
    options = Options.of(config["world"])
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(config["seed"])

    vae = AutoencoderKL(**config["model"]).to(memory_format=torch.channels_last)
    run = Run(vae, config, args)
    if args.decoder_only:
        run.average.copy_to(vae)  # what a denoiser was trained on is the averaged encoder
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)

    def loss_of(step: int, progress: float, rank: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed((config["seed"] + step) * args.workers + rank)
        x = pictures(config, options, step, progress, rank, args.workers)
        return train_step(vae, x, config, progress, generator)

    train(run, loss_of, lambda: write_log(args.out / "log.jsonl", step=run.step, **check(vae, run, options)), 100, args.show_every)


if __name__ == "__main__":
    main()
