"""The detector: a small convolutional network with one answer for each 8x8-pixel cell and one for the background
(after CenterNet, Zhou et al. 2019)."""
import torch
import torch.nn.functional as F
from torch import nn

CELL = 8  # pixels
BOX_UNIT = 32.0  # pixels: distances from a cell's centre to the sides of a box are told in this unit


class Residual(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))))))"""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(groups, channels), nn.GroupNorm(groups, channels)
        self.conv1, self.conv2 = nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


class Level(nn.Module):
    """Half the size by a strided convolution, then residual blocks."""

    def __init__(self, before: int, channels: int, blocks: int, groups: int):
        super().__init__()
        self.halve = nn.Conv2d(before, channels, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(Residual(channels, groups) for _ in range(blocks))

    def forward(self, x):
        x = self.halve(x)
        for block in self.blocks:
            x = block(x)
        return x


class Judge(nn.Module):
    def __init__(self, channels: list[int], blocks: list[int], groups: int, subjects: int, colours: int, backgrounds: int):
        """`channels` at 1/2, 1/4, 1/8 and 1/16 of the picture. Each list of answers but the colours' has one more, unknown."""
        super().__init__()
        self.levels = nn.ModuleList(Level(b, c, n, groups) for b, c, n in zip((3, *channels), channels, blocks))
        self.lateral = nn.Conv2d(channels[3], channels[2], 1)
        self.blocks = nn.ModuleList(Residual(channels[2], groups) for _ in range(2))
        self.norm = nn.GroupNorm(groups, channels[2])
        self.split = (1, 4, subjects + 1, colours)
        self.cells = nn.Conv2d(channels[2], sum(self.split), 1)
        self.background = nn.Linear(channels[3], backgrounds + 1)
        nn.init.constant_(self.cells.bias[:1], -4.0)  # most cells hold no centre

    def forward(self, x: torch.Tensor):
        """x [B, 3, H, W] in -1..1 -> centre logits [B, h, w], box sides [B, h, w, 4] as (left, top, right, bottom) in BOX_UNIT,
        subject and colour logits [B, h, w, .], background logits [B, .]."""
        features = []
        for level in self.levels:
            x = F.silu(level(x)) if not features else level(x)
            features.append(x)
        h = features[2] + F.interpolate(self.lateral(features[3]), scale_factor=2, mode="nearest")
        for block in self.blocks:
            h = block(h)
        # The raw sum beside the normalised one would cost more than it tells: colours survive wide groups.
        cells = self.cells(F.silu(self.norm(h))).permute(0, 2, 3, 1).float()
        centre, box, subject, colour = cells.split(self.split, -1)
        return centre[..., 0], box, subject, colour, self.background(features[3].float().mean((2, 3)))
