"""Trains two text encoders and a joint-attention denoiser together: a rectified flow on latents of a finished autoencoder.

    python training/train_mmdit.py training/configs/emoji-mmdit.yaml OUT --vae models/emoji-unet/vae [--deadline HH:MM]

OUT holds latents, state.pt (resumed when present), log.jsonl and grids. Every batch is a function of (seed, step).
"""
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from diffusers import SD3Transformer2DModel
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

import tokenizer as tokenizer_files
from latents import finished_vae, prepare
from loop import train
from precision import autocast
from progress import Run, run_options
from sampling import sample_flow, tokens, write_samples
from world.scenes import Options

ABSENT_T5 = 256  # zero states that stand for T5's where there is none, as StableDiffusion3Pipeline puts them


class JointText(torch.nn.Module):
    """Ids to (states, pooled) of StableDiffusion3Pipeline without T5, its equal zero states folded into one."""

    def __init__(self, configs: list[CLIPTextConfig], width: int):
        super().__init__()
        self.encoders = torch.nn.ModuleList(CLIPTextModelWithProjection(c) for c in configs)
        for encoder in self.encoders:
            encoder.set_attn_implementation("eager")
        self.width = width

    def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outs = [encoder(ids, output_hidden_states=True) for encoder in self.encoders]
        states = torch.cat([o.hidden_states[-2] for o in outs], -1)
        # One row more than the tokens: the zero state.
        return F.pad(states, (0, self.width - states.shape[-1], 0, 1)), torch.cat([o.text_embeds for o in outs], -1)


class FoldedAttention:
    """Joint attention by plain products whose last key stands for ABSENT_T5 equal ones.

    Text tokens have no positions, so equal states stay equal through every layer: one of them, its logit raised by
    log(ABSENT_T5), gives exactly what all of them would.
    """

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, **_):
        pictures = hidden_states.shape[1]

        def heads(x):
            return x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)

        q, k, v = heads(attn.to_q(hidden_states)), heads(attn.to_k(hidden_states)), heads(attn.to_v(hidden_states))
        q, k = attn.norm_q(q), attn.norm_k(k)
        text = [heads(p(encoder_hidden_states)) for p in (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)]
        q = torch.cat([q, attn.norm_added_q(text[0])], 2)
        k, v = torch.cat([k, attn.norm_added_k(text[1])], 2), torch.cat([v, text[2]], 2)
        logits = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        fold = torch.zeros(k.shape[2], dtype=logits.dtype)
        fold[-1] = math.log(ABSENT_T5)
        out = ((logits + fold).softmax(-1).to(v.dtype) @ v).transpose(1, 2).flatten(2)
        picture, words = attn.to_out[1](attn.to_out[0](out[:, :pictures])), out[:, pictures:]
        return picture, words if attn.context_pre_only else attn.to_add_out(words)


def build(config: dict, tokenizer) -> tuple[JointText, SD3Transformer2DModel]:
    ids = dict(vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
               pad_token_id=tokenizer.pad_token_id)
    encoders = [CLIPTextConfig(**ids, **{**config["text"], **own}) for own in config["encoders"]]
    transformer = SD3Transformer2DModel(**config["transformer"])
    # Every block begins as the identity and the whole as zero (DiT, section 3.2).
    for name, layer in transformer.named_modules():
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.xavier_uniform_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
            if name == "proj_out" or ".norm1" in name or "norm_out" in name:
                torch.nn.init.zeros_(layer.weight)
    return JointText(encoders, config["transformer"]["joint_attention_dim"]), transformer


def draw(seed: tuple[int, int], step: int, z_all: np.ndarray, id_all: np.ndarray, size: int, dropout: float, empty: torch.Tensor,
         shift: float):
    rng = np.random.default_rng((*seed, step))
    rows = np.sort(rng.integers(len(z_all), size=size))
    z = torch.from_numpy(z_all[rows].astype(np.float32))
    ids = torch.from_numpy(id_all[rows].astype(np.int64))
    ids[torch.from_numpy(rng.random(size) < dropout)] = empty[0]
    noise = torch.from_numpy(rng.standard_normal(z.shape, dtype=np.float32))
    # One time from each of `size` equal parts of (0, 1), moved towards noise as the sampler's schedule is.
    u = torch.from_numpy((rng.permutation(size) + rng.random(size)) / size).float()
    return z, ids, noise, shift * u / (1 + (shift - 1) * u)


def draw_samples(run: Run, ids: torch.Tensor, empty: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    return sample_flow(run.module["text"], run.module["transformer"], run.config["scheduler"]["shift"], ids, empty, noise, 20)


def main() -> None:
    parser = run_options(__doc__.splitlines()[0], 1000)
    parser.add_argument("--vae", type=Path, required=True, help="the vae folder of an exported model")
    args = parser.parse_args()
    config = yaml.safe_load(args.config.read_text())
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(config["seed"])

    tokenizer = tokenizer_files.write(args.out / "tokenizer", length=config["text"]["max_position_embeddings"])
    vae = finished_vae(args.vae)
    z_all, id_all = prepare(args.out, vae, tokenizer, config["seed"], config["pictures"], Options.of(config["world"]), args.workers)

    text, transformer = build(config, tokenizer)
    transformer.set_attn_processor(FoldedAttention())
    run = Run(torch.nn.ModuleDict({"text": text, "transformer": transformer}), config, args)
    empty, shift = tokens(tokenizer, [""]), config["scheduler"]["shift"]

    def loss_of(step: int, _: float, rank: int) -> torch.Tensor:
        z, ids, noise, sigma = draw((config["seed"], rank), step, z_all, id_all, config["batch"] // args.workers,
                                    config["caption_dropout"], empty, shift)
        s = sigma[:, None, None, None]
        with autocast():
            states, pooled = text(ids)
            v = transformer((1 - s) * z + s * noise, states, pooled, 1000 * sigma).sample
        return F.mse_loss(v.float(), noise - z)

    train(run, loss_of, lambda: write_samples(run, vae, tokenizer, draw_samples), 50, args.show_every)


if __name__ == "__main__":
    main()
