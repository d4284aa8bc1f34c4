"""A whole tiny run of the joint-attention model, loaded and sampled by diffusers itself; and its folded attention."""
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from diffusers import StableDiffusion3Pipeline

from test_export import ROOT, SHIPPED, run

MMDIT = ROOT.parent / "models" / "emoji-mmdit"


def tiny_config(folder: Path) -> Path:
    config = yaml.safe_load((ROOT / "configs" / "emoji-mmdit.yaml").read_text())
    config["transformer"].update(num_layers=2, num_attention_heads=2, caption_projection_dim=64)
    config.update(steps=4, batch=4, pictures=64)
    file = folder / "mmdit.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def check_folder(folder: Path) -> StableDiffusion3Pipeline:
    # diffusers wants an absent T5 to be named, even where the folder says that there is none.
    pipeline = StableDiffusion3Pipeline.from_pretrained(folder, text_encoder_3=None, tokenizer_3=None)
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(0))
    picture = pipeline("a cat on grass", latents=noise, num_inference_steps=3, output_type="np").images
    assert picture.shape == (1, 128, 128, 3) and np.isfinite(picture).all() and picture.std() > 0.01
    return pipeline


@pytest.mark.skipif(not (SHIPPED / "vae" / "config.json").exists(), reason="no shipped autoencoder in this checkout")
def test_a_run_becomes_a_folder_that_diffusers_samples_from(tmp_path):
    config = tiny_config(tmp_path)
    run(ROOT / "train_mmdit.py", config, tmp_path / "run", "--vae", SHIPPED / "vae")
    run(ROOT / "export_mmdit.py", config, tmp_path / "run", "--vae", SHIPPED / "vae", "--to", tmp_path / "model")
    pipeline = check_folder(tmp_path / "model")
    assert pipeline.text_encoder_3 is None and pipeline.vae.config.shift_factor == 0


def test_one_state_with_a_raised_logit_stands_for_all_of_t5(tmp_path):
    import tokenizer
    from train_mmdit import ABSENT_T5, FoldedAttention, build
    config = yaml.safe_load(tiny_config(tmp_path).read_text())
    torch.manual_seed(3)
    text, transformer = build(config, tokenizer.write(tmp_path / "tokenizer", pictures=200, length=32))
    for p in transformer.parameters():
        torch.nn.init.normal_(p, 0, 0.1)
    z, t = torch.randn(2, 4, 16, 16), torch.tensor([900.0, 100.0])
    with torch.no_grad():
        states, pooled = text(torch.randint(0, 500, (2, 32)))
        assert (states[:, -1] == 0).all()
        whole = transformer(z, torch.cat([states[:, :-1], torch.zeros(2, ABSENT_T5, states.shape[-1])], 1), pooled, t).sample
        transformer.set_attn_processor(FoldedAttention())
        folded = transformer(z, states, pooled, t).sample
    assert (folded - whole).abs().max() < 1e-4 * whole.std()


@pytest.mark.skipif(not (MMDIT / "model_index.json").exists(), reason="no shipped folder in this checkout")
def test_the_shipped_folder():
    check_folder(MMDIT)
    assert sum(f.stat().st_size for f in MMDIT.rglob("*") if f.is_file()) < 30e6
