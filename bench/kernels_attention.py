"""torch on the list of bench/kernels_attention.cpp, best of several runs.

    python bench/kernels_attention.py [--only attend|stream]
"""
import argparse
import time

import torch
import torch.nn.functional as F


def best(f, seconds=0.5):
    f()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 2 or time.perf_counter() < end:
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return min(times)


def attend(dtype):
    for nq, nk, h, d in ((4096, 4096, 8, 40), (1024, 1024, 20, 64), (17776, 17776, 4, 64), (4096, 77, 8, 40),
                         (4096, 4096, 1, 512), (1024, 1024, 8, 80)):
        # [B,N,H,D] in memory, as projections leave them
        q, k, v = (torch.randn(1, n, h, d).to(dtype).transpose(1, 2).requires_grad_() for n in (nq, nk, nk))
        cotangent = torch.randn(1, nq, h, d).to(dtype).transpose(1, 2)

        def forward():
            with torch.no_grad():
                F.scaled_dot_product_attention(q, k, v)

        def both():
            torch.autograd.grad(F.scaled_dot_product_attention(q, k, v), (q, k, v), cotangent)

        print(f"attend {dtype} {nq} {nk} {h} {d}: {best(forward) * 1e3:.2f} ms, "
              f"with gradient {best(both) * 1e3:.2f} ms", flush=True)


@torch.no_grad()
def stream(dtype):
    for rows, c in ((8192, 320), (2048, 1280)):
        x, wide, row = torch.randn(rows, c).to(dtype), torch.randn(rows, 8 * c).to(dtype), torch.randn(c).to(dtype)
        side = int((rows // 2) ** 0.5)
        picture = torch.randn(2, c, side, rows // 2 // side).to(dtype).contiguous(memory_format=torch.channels_last)
        ops = {
            "group_norm_silu": lambda: F.silu(F.group_norm(picture, 32, row, row)),
            "layer_norm_rows": lambda: F.layer_norm(x, (c,), row, row),
            "softmax_rows": lambda: x.softmax(-1),
            "silu": lambda: F.silu(x),
            "gelu": lambda: F.gelu(x),
            "gated_gelu": lambda: (lambda a, b: a * F.gelu(b))(*wide.chunk(2, -1)),
            "add_same": lambda: x + x,
            "add_row": lambda: x + row,
        }
        for name, f in ops.items():
            print(f"{name} {dtype} {rows} {c}: {best(f, 0.1) * 1e6:.0f} us", flush=True)


parser = argparse.ArgumentParser()
parser.add_argument("--only", choices=("attend", "stream"))
parser.add_argument("--threads", type=int, default=2)
arguments = parser.parse_args()
torch.set_num_threads(arguments.threads)
for dtype in (torch.float32, torch.bfloat16):
    if arguments.only != "stream":
        attend(dtype)
    if arguments.only != "attend":
        stream(dtype)
