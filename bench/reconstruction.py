"""How well an inverted picture comes back: rendered scenes, inverted and sampled again with the same prompt.

    python bench/reconstruction.py --heddle build/heddle [--scenes 4] [--steps 50]

prints, for each inversion and guidance, the lowest and highest PSNR in dB against the autoencoder's own reconstruction of the scene (needs
what training/ needs: the emoji font, torch, Pillow).
"""
import argparse
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
INVERSIONS = [("ddim", 1, 1), ("second_order", 1, 1), ("fixed_point", 1, 5), ("ddim", 3, 1), ("second_order", 3, 1), ("fixed_point", 3, 5),
              ("fixed_point", 3, 20)]


def scenes(folder: Path, count: int) -> list[str]:
    from pictures import batch
    from world.captions import caption
    from world.scenes import Options, sample_scene
    options = Options.of(yaml.safe_load((ROOT / "training/configs/emoji-unet.yaml").read_text())["world"])
    for i, picture in enumerate(batch(SEED, 0, count, options)):
        pixels = ((picture.permute(1, 2, 0) + 1) / 2 * 255).round().clamp(0, 255).byte().numpy()
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return [caption(sample_scene(SEED, i, options)) for i in range(count)]


def psnr(heddle: str, folder: Path, i: int, prompt: str, method: str, guidance: float, iterations: int, steps: int) -> float:
    preset = dict(heddle=1, model=str(ROOT / "models/emoji-unet"), task="edit", prompt=prompt, source=dict(image=f"{i}.png", prompt=prompt),
                  inversion=dict(method=method, guidance=guidance, iterations=iterations, hold=False, save=str(folder / "t.safetensors")),
                  sampler=dict(name="ddim", steps=steps, guidance=guidance), output=str(folder / "out.png"))
    (folder / "p.yaml").write_text(yaml.safe_dump(preset))
    subprocess.run([heddle, "run", folder / "p.yaml"], check=True, capture_output=True)
    save_file({"latent": load_file(folder / "t.safetensors")["trajectory"][-1:]}, folder / "z.safetensors")
    subprocess.run([heddle, "eval", "--component", ROOT / "models/emoji-unet/vae", "--inputs", folder / "z.safetensors", "--output",
                    folder / "d.safetensors"], check=True, capture_output=True)
    own = np.clip(load_file(folder / "d.safetensors")["sample"][0].transpose(1, 2, 0) / 2 + 0.5, 0, 1)
    back = np.asarray(Image.open(folder / "out.png").convert("RGB")) / 255
    return -10 * np.log10(np.square(own - back).mean())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--heddle", default="build/heddle")
    parser.add_argument("--scenes", type=int, default=4)
    parser.add_argument("--steps", type=int, default=50)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prompts = scenes(folder, args.scenes)
        for method, guidance, iterations in INVERSIONS:
            all_of = [psnr(args.heddle, folder, i, p, method, guidance, iterations, args.steps) for i, p in enumerate(prompts)]
            print(f"{method}, guidance {guidance}, {iterations} rounds: {min(all_of):.1f} to {max(all_of):.1f} dB", flush=True)


if __name__ == "__main__":
    main()
