"""Trains the detector on renders, damaged scenes and what an autoencoder makes of both.

    python training/train_judge.py training/configs/emoji-judge.yaml OUT --vae VAE_RUN/state.pt [--deadline HH:MM]

OUT holds the decoded pictures, state.pt (resumed when present) and log.jsonl. Every batch is a function of (seed, step).
"""
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from diffusers import AutoencoderKL

from judge.damage import NAMES
from judge.network import BOX_UNIT, CELL, Judge
from judge.scenes import COLOUR_NAMES, Labels, hard_scene, plain_scene
from judge.verdict import Thresholds, boxes, compare, read
from latents import encode, load_vae
from loop import train
from pictures import as_tensor
from precision import autocast
from progress import Run, run_options, write_log
from team import context
from world.backgrounds import BACKGROUNDS
from world.scenes import SIZE, Options

CHECK_SEED, DECODED_SEED = 900_011, 900_012  # scenes that training never sees
NEAR = 0.6  # of the heat at a centre: cells at least this hot learn box, subject and colour


def build(config: dict) -> Judge:
    return Judge(**config["model"], subjects=len(NAMES), colours=len(COLOUR_NAMES), backgrounds=len(BACKGROUNDS))


def draw(rng: np.random.Generator, seed: int, options: Options, hard_share: float) -> tuple[np.ndarray, Labels]:
    if rng.random() < hard_share:
        return hard_scene(rng)
    return plain_scene(seed, int(rng.integers(1 << 31)), options)


@torch.no_grad()
def through(vae: AutoencoderKL, pixels: np.ndarray, rng: np.random.Generator, most_noise: float) -> np.ndarray:
    """What is left of pictures uint8 [N, H, W, 3] after the autoencoder; half of them from latents with noise on top."""
    z = encode(vae, as_tensor(pixels))
    level = np.where(rng.random(len(z)) < 0.5, 0, rng.uniform(0, most_noise, len(z))).astype(np.float32)
    std = z.std((0, 2, 3), keepdim=True)
    z += torch.from_numpy(level)[:, None, None, None] * std * torch.from_numpy(rng.standard_normal(z.shape, dtype=np.float32))
    with autocast():
        x = vae.decoder(vae.post_quant_conv(z)).float()
    return ((x.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def decoded_part(vae, config: dict, seed: int, rank: int, count: int, hard_share: float, noise: float) -> tuple[np.ndarray, list[Labels]]:
    rng = np.random.default_rng((seed, rank))
    options = Options.of(config["world"])
    pixels, labels = zip(*(draw(rng, seed + rank, options, hard_share) for _ in range(count)))
    pixels = np.stack(pixels)
    for i in range(0, count, 32):
        pixels[i:i + 32] = through(vae, pixels[i:i + 32], rng, noise)
    return pixels, list(labels)


def decoded(vae, config: dict, seed: int, count: int, workers: int, hard_share: float, noise: float):
    """`count` pictures that went through the autoencoder, made by `workers` processes."""
    with context.Pool(workers) as pool:
        parts = pool.starmap(decoded_part, [(vae, config, seed, r, count // workers, hard_share, noise) for r in range(workers)])
    return np.concatenate([p for p, _ in parts]), [label for _, labels in parts for label in labels]


def targets(labels: list[Labels]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Heat [B, h, w], which object a cell belongs to [B, h, w], and whether it is near enough to learn from it."""
    n = SIZE // CELL
    y, x = np.mgrid[0:n, 0:n]
    heat = np.zeros((len(labels), n, n), np.float32)
    owner = np.zeros((len(labels), n, n), np.int64)
    for b, label in enumerate(labels):
        for i in range(label.count):
            x0, y0, x1, y1 = label.box[i] / CELL
            # The cell that holds the centre gets exactly 1.
            cy, cx = min(int((y0 + y1) / 2), n - 1), min(int((x0 + x1) / 2), n - 1)
            spread = np.exp(-((y - cy) ** 2 / (0.02 * (y1 - y0) ** 2 + 0.3) + (x - cx) ** 2 / (0.02 * (x1 - x0) ** 2 + 0.3)))
            owner[b][spread > heat[b]] = i
            heat[b] = np.maximum(heat[b], spread)
    heat = torch.from_numpy(heat)
    return heat, torch.from_numpy(owner), heat >= NEAR


def stacked(labels: list[Labels], field: str) -> torch.Tensor:
    return torch.from_numpy(np.stack([getattr(label, field) for label in labels]))


def loss_of_answers(answers, labels: list[Labels]) -> torch.Tensor:
    centre, sides, subject, colour, background = answers
    heat, owner, near = targets(labels)
    objects = max(sum(label.count for label in labels), 1)
    p = centre.sigmoid().clamp(1e-5, 1 - 1e-5)
    hit = heat == 1
    focal = -torch.where(hit, (1 - p) ** 2 * p.log(), (1 - heat) ** 4 * p ** 2 * (1 - p).log()).sum() / objects
    row = torch.nonzero(near)[:, 0]
    mine = owner[near]
    box = stacked(labels, "box")[row, mine]
    size = (box[:, 2:] - box[:, :2]).repeat(1, 2)
    off = F.smooth_l1_loss(boxes(sides)[near] / size, box / size, beta=0.02)
    name = F.cross_entropy(subject[near], stacked(labels, "subject")[row, mine])
    shade = F.cross_entropy(colour[near], stacked(labels, "colour")[row, mine])
    ground = F.cross_entropy(background, torch.tensor([label.background for label in labels]))
    return focal + 4 * off + name + 0.7 * shade + 0.5 * ground


@torch.no_grad()
def check(judge: Judge, pixels: np.ndarray, labels: list[Labels]) -> dict:
    figures: dict[str, list[float]] = {}
    for i in range(0, len(pixels), 32):
        answers = judge(as_tensor(pixels[i:i + 32]))
        for row, label in enumerate(labels[i:i + 32]):
            for key, values in compare(*read(answers, row, Thresholds()), label).items():
                figures.setdefault(key, []).extend(values)
    return {key: float(np.mean(values)) for key, values in figures.items() if values}


def main() -> None:
    parser = run_options(__doc__.splitlines()[0], 1000)
    parser.add_argument("--vae", type=Path, required=True, help="state.pt of a train_vae.py run")
    args = parser.parse_args()
    config = yaml.safe_load(args.config.read_text())
    options = Options.of(config["world"])
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(config["seed"])
    vae = load_vae(args.vae, yaml.safe_load((args.config.parent / config["vae"]).read_text())["model"]).to(memory_format=torch.channels_last)

    pool = args.out / "decoded.pt"
    if not pool.exists():
        torch.save(decoded(vae, config, config["seed"], config["decoded"], args.workers, config["hard_share"], config["latent_noise"]), pool)
    pool_pixels, pool_labels = torch.load(pool, weights_only=False)
    plain = [plain_scene(CHECK_SEED, i, options) for i in range(512)]
    checks = {"render": (np.stack([p for p, _ in plain]), [label for _, label in plain]),
              "decoded": decoded(vae, config, DECODED_SEED, 512, args.workers, 0.0, 0.0)}

    judge = build(config).to(memory_format=torch.channels_last)
    run = Run(judge, config, args)

    def loss_of(step: int, _: float, rank: int) -> torch.Tensor:
        rng = np.random.default_rng((config["seed"], rank, step))
        n = config["batch"] // args.workers
        rows = rng.integers(len(pool_pixels), size=round(n * config["decoded_share"]))
        pixels, labels = zip(*[(pool_pixels[r], pool_labels[r]) for r in rows],
                             *[draw(rng, config["seed"] + 1, options, config["hard_share"]) for _ in range(n - len(rows))])
        with autocast():
            answers = judge(as_tensor(np.stack(pixels)).contiguous(memory_format=torch.channels_last))
        return loss_of_answers([a.float() for a in answers], list(labels))

    def show() -> None:
        with run.averaged():
            for name, (pixels, labels) in checks.items():
                write_log(args.out / "log.jsonl", step=run.step, on=name, **check(judge, pixels, labels))

    train(run, loss_of, show, 100, args.show_every)


if __name__ == "__main__":
    main()
