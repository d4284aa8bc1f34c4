"""A whole tiny run: autoencoder, denoiser and export, loaded and sampled by diffusers itself; and the shipped folder."""
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT.parent / "models" / "emoji-unet"


def run(*args):
    subprocess.run([sys.executable, *map(str, args)], check=True, capture_output=True, timeout=600)


def tiny_configs(folder: Path) -> tuple[Path, Path]:
    vae = yaml.safe_load((ROOT / "configs" / "emoji-unet-vae.yaml").read_text())
    vae["model"]["block_out_channels"] = [8, 8, 8, 16]
    vae.update(steps=4, batch=2, crops={"side": 64, "batch": 2, "until": 0.5})
    unet = yaml.safe_load((ROOT / "configs" / "emoji-unet.yaml").read_text())
    unet["unet"]["block_out_channels"] = [16, 16, 32]
    unet.update(steps=4, batch=4, pictures=64, vae="vae.yaml")
    (folder / "vae.yaml").write_text(yaml.safe_dump(vae))
    (folder / "unet.yaml").write_text(yaml.safe_dump(unet))
    return folder / "vae.yaml", folder / "unet.yaml"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    vae, unet = tiny_configs(folder)
    run(ROOT / "train_vae.py", vae, folder / "vae")
    run(ROOT / "train_unet.py", unet, folder / "unet", "--vae", folder / "vae" / "state.pt")
    run(ROOT / "export.py", unet, folder / "unet", "--vae", folder / "vae" / "state.pt", "--to", folder / "model")
    return folder


def check_folder(folder: Path):
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(0))
    picture = pipeline("a cat on grass", latents=noise, num_inference_steps=3, output_type="np").images
    assert picture.shape == (1, 128, 128, 3) and np.isfinite(picture).all() and picture.std() > 0.01
    return pipeline


def test_a_run_becomes_a_folder_that_diffusers_samples_from(trained):
    check_folder(trained / "model")


def test_the_folder_says_how_heddle_is_to_sample(trained):
    assert json.loads((trained / "model" / "heddle.json").read_text()) == {"sampler": {"steps": 30, "guidance": 3}}


def test_a_run_may_begin_with_an_exported_model(trained):
    config = yaml.safe_load((trained / "unet.yaml").read_text())
    (trained / "still.yaml").write_text(yaml.safe_dump({**config, "learning_rate": 0.0, "seed": 99}))
    model = trained / "model"
    run(ROOT / "train_unet.py", trained / "still.yaml", trained / "still", "--vae", model / "vae", "--begin-with", model)
    run(ROOT / "export.py", trained / "still.yaml", trained / "still", "--vae", model / "vae", "--to", trained / "again")
    for part in ("text_encoder/model", "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model"):
        before, after = (load_file(folder / f"{part}.safetensors") for folder in (model, trained / "again"))
        assert before.keys() == after.keys() and all(before[name].equal(after[name]) for name in before), part


def test_exported_latents_have_unit_size(trained):
    from pictures import batch
    from world.scenes import Options
    vae = check_folder(trained / "model").vae
    with torch.no_grad():
        z = vae.encode(batch(8, 0, 64, Options())).latent_dist.mean * vae.config.scaling_factor
    assert z.mean((0, 2, 3)).abs().max() < 0.3 and (z.std((0, 2, 3)) - 1).abs().max() < 0.3


def test_normalising_does_not_change_what_is_decoded(trained):
    from latents import load_vae, normalise
    from pictures import batch
    from world.scenes import Options
    config = yaml.safe_load((trained / "vae.yaml").read_text())["model"]
    plain, folded = (load_vae(trained / "vae" / "state.pt", config) for _ in range(2))
    folded = normalise(folded, torch.tensor([0.5, -1.0, 0.0, 2.0]), torch.tensor([2.0, 0.5, 1.0, 3.0]))
    x = batch(8, 0, 2, Options())
    with torch.no_grad():
        a, b = (v.decode(v.encode(x).latent_dist.mean).sample for v in (plain, folded))
    assert (a - b).abs().max() < 1e-4


def test_resuming_continues_exactly(trained, tmp_path):
    """Four steps at once and two plus two give the same weights."""
    config = yaml.safe_load((trained / "vae.yaml").read_text())
    whole = torch.load(trained / "vae" / "state.pt", weights_only=True)
    script = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import progress, train_vae
limit = float(sys.argv.pop(1))
progress.Progress.done = property(lambda self: self.value >= limit)
train_vae.main()
"""
    (tmp_path / "part.py").write_text(script)
    for limit in ("0.49", "0.99"):
        run(tmp_path / "part.py", limit, trained / "vae.yaml", tmp_path / "vae")
    parts = torch.load(tmp_path / "vae" / "state.pt", weights_only=True)
    assert parts["step"] == whole["step"] == config["steps"]
    for name, value in whole["model"].items():
        torch.testing.assert_close(parts["model"][name], value, rtol=0, atol=1e-6)


@pytest.mark.skipif(not (SHIPPED / "model_index.json").exists(), reason="no shipped folder in this checkout")
def test_the_shipped_folder():
    pipeline = check_folder(SHIPPED)
    assert sum(f.stat().st_size for f in SHIPPED.rglob("*") if f.is_file()) < 25e6
    assert pipeline.vae.config.latent_channels == 4 and 2 ** (len(pipeline.vae.config.block_out_channels) - 1) == 8
    index = json.loads((SHIPPED / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline" and index["safety_checker"] == [None, None]
