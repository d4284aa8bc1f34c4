"""Batches of scenes as tensors, tensors as picture grids, and the two figures a decoder is judged by."""
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from world.scenes import SIZE, Options, render, sample_scene


def as_tensor(pixels: np.ndarray) -> torch.Tensor:
    """uint8 [N, H, W, 3] to float32 [N, 3, H, W] in -1..1."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def batch(seed: int, start: int, count: int, options: Options) -> torch.Tensor:
    """float32 [count, 3, H, W] in -1..1: scenes start .. start+count-1 of the stream `seed`."""
    return as_tensor(np.stack([render(sample_scene(seed, start + i, options)) for i in range(count)]))


def crops(seed: int, start: int, count: int, options: Options, side: int) -> torch.Tensor:
    """Like `batch`, but a square of `side` pixels around one subject of each scene: less background, more to learn."""
    parts = []
    for i in range(start, start + count):
        scene = sample_scene(seed, i, options)
        x0, y0, x1, y1 = scene.subjects[i % len(scene.subjects)].box
        wander = np.random.default_rng((seed, i, 2)).integers(-side // 4, side // 4 + 1, 2)
        x, y = np.clip(((x0 + x1) // 2 + wander[0] - side // 2, (y0 + y1) // 2 + wander[1] - side // 2), 0, SIZE - side)
        parts.append(render(scene)[y:y + side, x:x + side])
    return as_tensor(np.stack(parts))


def save_grid(path, pictures: torch.Tensor, columns: int) -> None:
    pixels = ((pictures.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    rows = [np.concatenate(list(pixels[i:i + columns]), 1) for i in range(0, len(pixels), columns)]
    Image.fromarray(np.concatenate(rows, 0)).save(path)


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    """Mean over pictures, in dB, for pictures in -1..1."""
    error = ((a.clamp(-1, 1) - b) ** 2).mean((1, 2, 3))
    return float((10 * torch.log10(4 / error)).mean())


def colour_error(a: torch.Tensor, b: torch.Tensor) -> float:
    """Mean absolute difference of 4x4-pooled pixels as a share of the range."""
    return float((F.avg_pool2d(a.clamp(-1, 1), 4) - F.avg_pool2d(b, 4)).abs().mean() / 2)
