"""torch on the list of bench/kernels_attention.cpp, best of several runs.

    python bench/kernels_attention.py [--only attend|stream]
    python bench/kernels_attention.py --beside build-bench/bench/kernels_attention [--rounds 3] [--case SUBSTRING]

With --beside, heddle and torch take turns, case by case, and the ratio of their best times is printed. With --per-core
both get one thread and its processor time counts, which other work on the machine disturbs little.
"""
import argparse
import json
import os
import subprocess
import time

import torch
import torch.nn.functional as F

SIZES = ((4096, 4096, 8, 40), (1024, 1024, 20, 64), (17776, 17776, 4, 64), (4096, 77, 8, 40), (4096, 4096, 1, 512),
         (1024, 1024, 8, 80), (4096, 4096, 8, 64), (16384, 16384, 8, 40), (16384, 16384, 8, 64))
LABELLED = tuple(s for s in SIZES if s[2] == 8 and s[0] == s[1] and s[0] > 1024)


def best(f, seconds=0.5):
    """Seconds of the quickest call."""
    clock = time.process_time if arguments.per_core else time.perf_counter
    f()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 2 or time.perf_counter() < end:
        start = clock()
        f()
        times.append(clock() - start)
    return min(times)


def attention_cases():
    """(benchmark's name, its arguments) in order."""
    for name in ("attend", "attend_with_gradient", "attend_with_columns"):
        yield from ((name, size) for size in SIZES)
    for name in ("attend_masked", "attend_biased", "attend_masked_with_gradient"):
        yield from ((name, size) for size in LABELLED)


def dense_term(name, nq, nk, dtype):
    """The dense matrix that heddle's four labels and their table stand for."""
    if not name.startswith(("attend_masked", "attend_biased")):
        return None
    rows, keys = (torch.arange(n) * 7 // 5 % 4 for n in (nq, nk))
    if "biased" in name:
        return (0.1 * (keys[None] - rows[:, None])).to(dtype)[None, None]
    seen = (keys[None] == 0) | (keys[None] == rows[:, None])
    return torch.zeros(nq, nk, dtype=dtype).masked_fill_(~seen, float("-inf"))[None, None]


def attend(name, size, dtype):
    """Seconds of torch; of what it has no name for, the plain gradient."""
    nq, nk, h, d = size
    # [B,N,H,D] in memory, as projections leave them
    q, k, v = (torch.randn(1, n, h, d).to(dtype).transpose(1, 2).requires_grad_() for n in (nq, nk, nk))
    cotangent = torch.randn(1, nq, h, d).to(dtype).transpose(1, 2)
    term = dense_term(name, nq, nk, dtype)

    def forward():
        with torch.no_grad():
            F.scaled_dot_product_attention(q, k, v, attn_mask=term)

    def both():
        torch.autograd.grad(F.scaled_dot_product_attention(q, k, v, attn_mask=term), (q, k, v), cotangent)

    return best(both if name.endswith(("gradient", "columns")) else forward)


def heddle(program, name, size, dtype):
    """Seconds."""
    values = zip(("bf16", "queries", "keys", "heads", "dim"), (int(dtype == torch.bfloat16), *size))
    full = f"{name}/" + "/".join(f"{key}:{value}" for key, value in values) + "/real_time"
    out = subprocess.run([program, f"--benchmark_filter=^{full}$", "--benchmark_format=json", "--benchmark_min_time=0.3",
                          "--benchmark_repetitions=2"], check=True, capture_output=True, text=True,
                         env={**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}).stdout
    clock = "cpu_time" if arguments.per_core else "real_time"
    return min(run[clock] for run in json.loads(out)["benchmarks"] if run["run_type"] == "iteration") / 1e3


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


def report(name, size, dtype, program, rounds):
    torch_times, heddle_times = [], []
    for _ in range(rounds):
        if program:
            heddle_times.append(heddle(program, name, size, dtype))
        torch_times.append(attend(name, size, dtype))
    line = f"{name} {str(dtype)[6:]} {' '.join(map(str, size))}: torch {min(torch_times) * 1e3:.2f} ms"
    if program:
        line += f", heddle {min(heddle_times) * 1e3:.2f} ms, ratio {min(heddle_times) / min(torch_times):.2f}"
    print(line, flush=True)


parser = argparse.ArgumentParser()
parser.add_argument("--only", choices=("attend", "stream"))
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--beside", metavar="PROGRAM", help="heddle's benchmark, run in turn with torch's")
parser.add_argument("--rounds", type=int, default=1)
parser.add_argument("--case", default="", help="only attention cases whose line has this in it, as \"attend bfloat16 1024\"")
parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
parser.add_argument("--per-core", action="store_true")
arguments = parser.parse_args()
if arguments.per_core:
    arguments.threads = 1
torch.set_num_threads(arguments.threads)
for dtype in (getattr(torch, name) for name in arguments.dtypes):
    if arguments.only != "stream":
        for name, size in attention_cases():
            if arguments.case in f"{name} {str(dtype)[6:]} {' '.join(map(str, size))}":
                report(name, size, dtype, arguments.beside, arguments.rounds)
    if arguments.only != "attend" and not arguments.beside:
        stream(dtype)
