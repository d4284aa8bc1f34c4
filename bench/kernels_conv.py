"""The sizes of bench/kernels_conv.cpp in torch (channels-last) and OpenVINO; prints milliseconds and GFLOP/s of the direct method.

    python bench/kernels_conv.py [--threads 2] [--dtype f32|bf16] [--only conv|product] [--seconds 0.3] [--skip-openvino]
"""
import argparse
import time

import numpy as np
import torch

CONVOLUTIONS = [  # pictures, side, in, out, kernel, stride
    (2, 64, 320, 320, 3, 1), (2, 64, 640, 320, 3, 1), (2, 64, 640, 640, 3, 1), (2, 32, 640, 640, 3, 1), (2, 32, 1280, 1280, 3, 1),
    (2, 16, 1280, 1280, 3, 1), (2, 16, 2560, 1280, 3, 1), (2, 8, 1280, 1280, 3, 1), (2, 64, 320, 320, 3, 2),
    (1, 64, 512, 512, 3, 1), (1, 256, 256, 256, 3, 1), (1, 512, 128, 128, 3, 1)]
PRODUCTS = [  # rows, in, out
    (8192, 320, 320), (8192, 320, 2560), (8192, 1280, 320), (2048, 640, 5120), (2048, 2560, 640), (512, 1280, 1280),
    (512, 1280, 10240), (512, 5120, 1280), (154, 768, 1280), (4096, 4096, 4096)]


def best_time(call, seconds):
    call()
    call()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def torch_call(case, dtype):
    if len(case) == 6:
        n, side, inner, out, k, stride = case
        x = torch.randn(n, inner, side, side).to(dtype).to(memory_format=torch.channels_last)
        layer = torch.nn.Conv2d(inner, out, k, stride, k // 2).to(dtype).to(memory_format=torch.channels_last)
    else:
        x, layer = torch.randn(case[0], case[1]).to(dtype), torch.nn.Linear(case[1], case[2]).to(dtype)
    return lambda: layer(x)


def openvino_call(case, dtype, threads):
    import openvino as ov
    from openvino import opset8 as ops
    if len(case) == 6:
        n, side, inner, out, k, stride = case
        x = ops.parameter([n, inner, side, side], np.float32)
        weight = (np.random.randn(out, inner, k, k) / 100).astype(np.float32)
        y = ops.convolution(x, ops.constant(weight), [stride, stride], [k // 2] * 2, [k // 2] * 2, [1, 1])
    else:
        x = ops.parameter(list(case[:2]), np.float32)
        y = ops.matmul(x, ops.constant((np.random.randn(case[2], case[1]) / 100).astype(np.float32)), False, True)
    hint = "bf16" if dtype == torch.bfloat16 else "f32"
    model = ov.Core().compile_model(ov.Model([y], [x]), "CPU", {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": hint})
    request, value = model.create_infer_request(), np.random.randn(*x.shape).astype(np.float32)
    request.set_input_tensor(ov.Tensor(value))
    return request.infer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--only", choices=["conv", "product"])
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--skip-openvino", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    dtype = torch.bfloat16 if args.dtype == "bf16" else torch.float32
    cases = (CONVOLUTIONS if args.only != "product" else []) + (PRODUCTS if args.only != "conv" else [])
    for case in cases:
        if len(case) == 6:
            n, side, inner, out, k, stride = case
            operations = 2 * n * (side // stride) ** 2 * inner * out * k * k
        else:
            operations = 2 * case[0] * case[1] * case[2]
        runners = {"torch": torch_call(case, dtype)}
        if not args.skip_openvino:
            runners["openvino"] = openvino_call(case, dtype, args.threads)
        figures = []
        for name, call in runners.items():
            seconds = best_time(call, args.seconds)
            figures.append(f"{name} {seconds * 1e3:.1f} ms {operations / seconds / 1e9:.0f} GFLOP/s")
        print(args.dtype, *case, " | ".join(figures), flush=True)


if __name__ == "__main__":
    main()
