"""One component in heddle, diffusers and OpenVINO, interleaved in one run on one machine; prints one JSON line a runner.

    python bench/compare.py --component FOLDER --inputs A.safetensors --heddle build/heddle
                            [--dtype f32|bf16] [--threads 2] [--rounds 3] [--vjp] [--runners heddle,torch,...]

Each runner is a process of its own, started anew in each round, so that its peak resident memory is its own. Runners:
heddle; torch (eager); torch_last (channels-last); torch_compile; torch_autocast (bf16 only); openvino (from a file that the first
run writes beside the inputs). With --vjp a run is forward and gradient, and the forward pass is timed alone as well.
"""
import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path


def load_torch(args, dtype):
    import diffusers
    import torch
    config = json.loads((Path(args.component) / "config.json").read_text())
    kind = getattr(diffusers, config["_class_name"])
    model = kind.from_pretrained(args.component, torch_dtype=dtype).eval()
    return model, config["_class_name"]


def torch_call(model, class_name, inputs):
    if class_name == "AutoencoderKL":
        return model.decode(inputs["latent"]).sample if "latent" in inputs else model.encode(inputs["sample"]).latent_dist.mean
    if class_name in ("SD3Transformer2DModel", "FluxTransformer2DModel"):
        return model(**inputs).sample
    added = {k: inputs[k] for k in ("text_embeds", "time_ids") if k in inputs}
    return model(inputs["sample"], inputs["timestep"], inputs["encoder_hidden_states"],
                 added_cond_kwargs=added or None).sample


def run_torch(args):
    import torch
    from safetensors.torch import load_file
    torch.set_num_threads(args.threads)
    bf16 = args.dtype == "bf16"
    autocast = args.runner == "torch_autocast"
    dtype = torch.bfloat16 if bf16 and not autocast else torch.float32
    model, class_name = load_torch(args, dtype)
    inputs = {k: v.to(dtype) if v.is_floating_point() else v for k, v in load_file(args.inputs).items()}
    model.requires_grad_(False)
    if args.runner == "torch_last":
        model = model.to(memory_format=torch.channels_last)
    call = torch.compile(torch_call) if args.runner == "torch_compile" else torch_call
    first = next(name for name in ("latent", "sample", "hidden_states") if name in inputs)

    def forward():
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast), torch.no_grad():
            call(model, class_name, inputs)

    def forward_backward():
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            watched = inputs[first].clone().requires_grad_()
            out = call(model, class_name, {**inputs, first: watched})
        out.backward(torch.ones_like(out))

    return (forward_backward, forward) if args.vjp else (forward, None)


def convert_to_openvino(args, path):
    import openvino
    import torch
    from safetensors.torch import load_file
    model, class_name = load_torch(args, torch.float32)
    inputs = load_file(args.inputs)
    names = list(inputs)

    class Wrapper(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, *values):
            return torch_call(self.model, class_name, dict(zip(names, values)))

    with torch.no_grad():
        graph = openvino.convert_model(Wrapper(), example_input=tuple(inputs.values()))
    openvino.save_model(graph, path, compress_to_fp16=True)  # f16 weights, as in the folder


def run_openvino(args):
    import openvino
    from safetensors.torch import load_file
    inputs = load_file(args.inputs)
    path = Path(args.inputs).with_suffix(".xml")
    if not path.exists():  # in a process of its own: a conversion holds the weights several times
        subprocess.run([sys.executable, __file__, "--convert"] + sys.argv[1:], check=True, capture_output=True)
    graph = openvino.Core().read_model(path)
    hint = "bf16" if args.dtype == "bf16" else "f32"
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": args.threads,
                                                            "PERFORMANCE_HINT": "LATENCY"})
    values = [v.numpy() for v in inputs.values()]
    return (lambda: compiled(values)), None


def timed(once, repeat):
    once()
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        once()
        seconds.append(time.perf_counter() - start)
    return seconds


def child(args):
    once, forward = run_openvino(args) if args.runner == "openvino" else run_torch(args)
    seconds = timed(once, args.repeat)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    line = {"min_s": min(seconds), "median_s": statistics.median(seconds), "peak_rss_bytes": peak}
    if forward:
        line["forward_min_s"] = min(timed(forward, args.repeat))
    print(json.dumps(line))


def measure(args, runner):
    if runner == "heddle":
        command = [args.heddle, "bench", "--component", args.component, "--inputs", args.inputs, "--dtype", args.dtype,
                   "--threads", str(args.threads), "--repeat", str(args.repeat)] + (["--vjp"] if args.vjp else [])
    else:
        command = [sys.executable, __file__, "--runner", runner] + [a for a in sys.argv[1:]]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1:]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--component", required=True)
    parser.add_argument("--inputs", required=True)
    parser.add_argument("--heddle", default="build/heddle")
    parser.add_argument("--dtype", default="f32", choices=["f32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--vjp", action="store_true")
    parser.add_argument("--runners", default="heddle,torch,torch_last,openvino")
    parser.add_argument("--runner")
    parser.add_argument("--convert", action="store_true", help="write OpenVINO's form of the component and stop")
    args = parser.parse_args()
    if args.convert:
        return convert_to_openvino(args, Path(args.inputs).with_suffix(".xml"))
    if args.runner:
        return child(args)
    runs = {runner: [] for runner in args.runners.split(",")}
    for _ in range(args.rounds):
        for runner in runs:
            runs[runner].append(measure(args, runner))
            print(json.dumps({"runner": runner, **runs[runner][-1]}), flush=True)
    for runner, results in runs.items():
        good = [r for r in results if "min_s" in r]
        if good:
            line = {"runner": runner, "dtype": args.dtype, "vjp": args.vjp, "best_s": round(min(r["min_s"] for r in good), 3),
                    "median_s": round(statistics.median(r["median_s"] for r in good), 3),
                    "peak_rss_gib": round(max(r["peak_rss_bytes"] for r in good) / 2**30, 2)}
            if args.vjp:  # the gradient alone is the whole less a forward pass
                line["backward_best_s"] = round(line["best_s"] - min(r["forward_min_s"] for r in good), 3)
            print(json.dumps(line))


if __name__ == "__main__":
    main()
