"""Which arithmetic the trainers' forward passes use."""
import torch


def autocast() -> torch.autocast:
    """bf16 where the processor has instructions for it. Elsewhere torch emulates it: forward and backward of emoji-unet took nine times as long as in f32 with AVX2."""
    return torch.autocast("cpu", torch.bfloat16, enabled=torch.ops.mkldnn._is_mkldnn_bf16_supported())
