"""Full-size components with random f16 weights, and inputs for them, for the speed comparisons.

    python bench/make_models.py FOLDER [sd15_unet sdxl_unet sd3 flux vae sd15 flux.Q8_0 flux.Q4_K ...]

`sd3` is of the size of SD3 medium; `flux` has FLUX's widths but 2 double and 4 single blocks, `flux.TYPE` its matrices in blocks of a GGUF type (needs the package gguf; of the K types the numbers are
drawn). `sd15` is a whole folder for `heddle bench preset`: the full-size UNet with a small text encoder and the shipped model's tokenizer and autoencoder.
"""
import json
import shutil
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from safetensors.torch import save_file

SD15_UNET = dict(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
SDXL_UNET = dict(
    sample_size=128, cross_attention_dim=2048, attention_head_dim=[5, 10, 20], block_out_channels=(320, 640, 1280),
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), transformer_layers_per_block=[1, 2, 10],
    use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=256,
    projection_class_embeddings_input_dim=2816)
SD3 = dict(sample_size=128, num_layers=24, num_attention_heads=24, joint_attention_dim=4096, caption_projection_dim=1536,
           pooled_projection_dim=2048, pos_embed_max_size=192)
FLUX = dict(num_layers=2, num_single_layers=4, guidance_embeds=True)
VAE = dict(block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=4, sample_size=512,
           down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4)


def unet_inputs(batch, size, width, **added):
    g = torch.Generator().manual_seed(1)
    randn = lambda *shape: torch.randn(shape, generator=g)
    return dict(sample=randn(batch, 4, size, size), timestep=torch.tensor([500.0] * batch),
                encoder_hidden_states=randn(batch, 77, width), **added)


def sdxl_added(batch):
    g = torch.Generator().manual_seed(2)
    return dict(text_embeds=torch.randn((batch, 1280), generator=g),
                time_ids=torch.tensor([[1024.0, 1024, 0, 0, 1024, 1024]] * batch))


def sd3_inputs(batch, size, text):
    g = torch.Generator().manual_seed(1)
    randn = lambda *shape: torch.randn(shape, generator=g)
    return dict(hidden_states=randn(batch, 16, size, size), timestep=torch.tensor([500.0] * batch),
                encoder_hidden_states=randn(batch, text, 4096), pooled_projections=randn(batch, 2048))


def flux_inputs(side, text):
    g = torch.Generator().manual_seed(1)
    randn = lambda *shape: torch.randn(shape, generator=g)
    ids = torch.zeros(side, side, 3)
    ids[..., 1] += torch.arange(side)[:, None]
    ids[..., 2] += torch.arange(side)[None]
    return dict(hidden_states=randn(1, side * side, 64), timestep=torch.tensor([0.5]), guidance=torch.tensor([3.5]),
                encoder_hidden_states=randn(1, text, 4096), pooled_projections=randn(1, 768), img_ids=ids.reshape(-1, 3),
                txt_ids=torch.zeros(text, 3))


MODELS = {
    "sd15_unet": (UNet2DConditionModel, SD15_UNET, {"64": lambda: unet_inputs(2, 64, 768), "32": lambda: unet_inputs(2, 32, 768)}),
    "sdxl_unet": (UNet2DConditionModel, SDXL_UNET, {"64": lambda: unet_inputs(1, 64, 2048, **sdxl_added(1))}),
    "sd3": (SD3Transformer2DModel, SD3, {"64": lambda: sd3_inputs(1, 64, 333)}),
    "flux": (FluxTransformer2DModel, FLUX, {"4096": lambda: flux_inputs(64, 512), "64": lambda: flux_inputs(8, 512)}),
    "vae": (AutoencoderKL, VAE, {"64": lambda: dict(latent=torch.randn((1, 4, 64, 64), generator=torch.Generator().manual_seed(3)))}),
}


def make(folder, name):
    kind, config, inputs = MODELS[name]
    torch.manual_seed(0)
    model = kind(**config).half()
    model.save_pretrained(folder / name, max_shard_size="20GB")
    for size, build in inputs.items():
        save_file(build(), folder / f"{name}.{size}.safetensors")


def make_pipeline(folder):
    from transformers import CLIPTextConfig, CLIPTextModel
    shipped, target = Path(__file__).resolve().parents[1] / "models/emoji-unet", folder / "sd15"
    target.mkdir(exist_ok=True)
    if not (folder / "sd15_unet").exists():
        make(folder, "sd15_unet")
    (target / "unet").symlink_to((folder / "sd15_unet").resolve())
    for part in ("tokenizer", "vae", "scheduler"):
        shutil.copytree(shipped / part, target / part)
    index = json.loads((shipped / "model_index.json").read_text())
    (target / "model_index.json").write_text(json.dumps(index))
    text = json.loads((shipped / "text_encoder/config.json").read_text())
    config = CLIPTextConfig(**{k: text[k] for k in ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id", "max_position_embeddings")},
                            hidden_size=768, intermediate_size=3072, num_attention_heads=12, num_hidden_layers=2, projection_dim=768)
    torch.manual_seed(0)
    CLIPTextModel(config).half().save_pretrained(target / "text_encoder")


def make_gguf(folder, network, kind):
    """The network's file under its authors' names, as published ones are."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tools/fixtures"))
    import gguf_files
    import original_layouts
    if not (folder / network).exists():
        make(folder, network)
    state = getattr(original_layouts, network)(gguf_files.weights(folder / network))
    types = gguf_files.T
    block = 256 if kind.endswith("K") else 32
    kinds = {key: types[kind] if value.ndim == 2 and value.shape[1] % block == 0 else types.F16 for key, value in state.items()}
    stored = {key: (gguf_files.quantized(value.float().contiguous(), kinds[key])[0], kinds[key]) for key, value in state.items()}
    gguf_files.write(folder / f"{network}.{kind}.gguf", network, stored)


def make_named(folder, name):
    network, _, kind = name.partition(".")
    if kind:
        make_gguf(folder, network, kind)
    elif name == "sd15":
        make_pipeline(folder)
    else:
        make(folder, name)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or MODELS:
        make_named(target, name)
