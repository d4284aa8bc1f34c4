"""How well an inverted picture comes back: rendered scenes, inverted and sampled again with the same prompt.

    python bench/reconstruction.py --heddle build/heddle [--model emoji-unet | emoji-mmdit] [--scenes 4] [--calls 50] [--shift 1]

prints, for each inversion and guidance, the mean error of the latents over their deviation, and the lowest and highest PSNR in dB against the
autoencoder's own reconstruction of the scene; of flow models all solvers at equally many calls of the network in each direction (needs what
training/ needs: the emoji font, torch, Pillow).
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from safetensors.numpy import load_file, save_file

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "training"))

SEED = 777_001  # scenes that training never draws


def diffusion_cases(calls: int):
    for method, guidance, rounds in [("ddim", 1, 1), ("second_order", 1, 1), ("fixed_point", 1, 5), ("ddim", 3, 1), ("second_order", 3, 1),
                                     ("fixed_point", 3, 5), ("fixed_point", 3, 20)]:
        yield (f"{method}, guidance {guidance}, {rounds} rounds", dict(name="ddim", steps=calls, guidance=guidance),
               dict(method=method, guidance=guidance, iterations=rounds))


def flow_cases(calls: int, shift: float | None):
    own = {} if shift is None else dict(shift=shift)
    for solver, steps in [("euler", calls), ("rf2", calls // 2), ("fireflow", calls - 1)]:
        yield f"{solver}, {steps} steps", dict(name=solver, steps=steps, guidance=1, **own), dict(method="solver")


def scenes(folder: Path, count: int, model: str) -> list[str]:
    """Of the world that the model was trained on."""
    from pictures import batch
    from world.captions import caption
    from world.scenes import Options, sample_scene
    options = Options.of(yaml.safe_load((ROOT / f"training/configs/{model}.yaml").read_text())["world"])
    for i, picture in enumerate(batch(SEED, 0, count, options)):
        pixels = ((picture.permute(1, 2, 0) + 1) / 2 * 255).round().clamp(0, 255).byte().numpy()
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return [caption(sample_scene(SEED, i, options)) for i in range(count)]


def decoded(heddle: str, model: Path, latents: np.ndarray, folder: Path) -> np.ndarray:
    """What the autoencoder makes of latents in the denoiser's scale, [H,W,3] in 0..1."""
    config = json.loads((model / "vae/config.json").read_text())
    save_file({"latent": np.ascontiguousarray(latents / config.get("scaling_factor", 1) + (config.get("shift_factor") or 0))},
              folder / "z.safetensors")
    subprocess.run([heddle, "eval", "--component", model / "vae", "--inputs", folder / "z.safetensors", "--output", folder / "d.safetensors"],
                   check=True, capture_output=True)
    return np.clip(load_file(folder / "d.safetensors")["sample"][0].transpose(1, 2, 0) / 2 + 0.5, 0, 1)


def round_trip(heddle: str, model: Path, folder: Path, i: int, prompt: str, sampler: dict, inversion: dict) -> tuple[float, float]:
    """Error of the latents over their deviation, PSNR of the picture."""
    preset = dict(heddle=1, model=str(model), task="edit", prompt=prompt, source=dict(image=f"{i}.png", prompt=prompt), sampler=sampler,
                  inversion=dict(inversion, hold=False, save=str(folder / "t.safetensors")), output=str(folder / "out.png"),
                  save_latents=str(folder / "l.safetensors"))
    (folder / "p.yaml").write_text(yaml.safe_dump(preset))
    subprocess.run([heddle, "run", folder / "p.yaml"], check=True, capture_output=True)
    clean, back = load_file(folder / "t.safetensors")["trajectory"][-1:], load_file(folder / "l.safetensors")["latents"]
    own = decoded(heddle, model, clean, folder)
    picture = np.asarray(Image.open(folder / "out.png").convert("RGB")) / 255
    return np.sqrt(np.square(back - clean).mean()) / clean.std(), -10 * np.log10(np.square(own - picture).mean())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--heddle", default="build/heddle")
    parser.add_argument("--model", default="emoji-unet")
    parser.add_argument("--scenes", type=int, default=4)
    parser.add_argument("--calls", type=int, default=50, help="of the network in each direction; of fixed_point, steps")
    parser.add_argument("--shift", type=float, help="of a flow model's schedule; without it the model's own")
    args = parser.parse_args()
    model = Path(args.model) if Path(args.model).is_dir() else ROOT / "models" / args.model
    flow = (model / "transformer").is_dir()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prompts = scenes(folder, args.scenes, model.name)
        for label, sampler, inversion in flow_cases(args.calls, args.shift) if flow else diffusion_cases(args.calls):
            errors, psnrs = zip(*(round_trip(args.heddle, model, folder, i, p, sampler, inversion) for i, p in enumerate(prompts)))
            print(f"{label}: latents {np.mean(errors):.1e}, {min(psnrs):.1f} to {max(psnrs):.1f} dB", flush=True)


if __name__ == "__main__":
    main()
