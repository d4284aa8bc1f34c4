"""Draws pictures with the parts in hand, as the Stable Diffusion pipelines would, with classifier-free guidance."""
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from pictures import save_grid
from precision import autocast

GRID_PROMPTS = (
    "a cat on grass", "a dog on sand", "a panda on snow", "a fox at night", "a frog on bricks", "a lion in the sky", "a pig on grass", "a bear on snow",
    "an owl at night", "a penguin on sand", "a red balloon in the sky", "a pink heart on grass", "a yellow star at night", "a blue car on sand",
    "a purple umbrella on snow", "a green apple on bricks", "an orange shirt on grass", "a cyan flower on sand", "a yellow balloon on bricks", "a red car on snow",
    "a green star in the sky", "a blue heart on sand", "a pink umbrella at night", "a purple flower on grass", "a cat and a red balloon on grass",
    "a dog left of a panda on sand", "a fox above a blue car on snow", "a yellow star right of a bear at night", "a purple balloon in the sky",
    "a blue star on grass", "a red apple and a green shirt on bricks", "a pig, a red heart and a blue car on grass",
)


def tokens(tokenizer, texts) -> torch.Tensor:
    return tokenizer(list(texts), padding="max_length", truncation=True, return_tensors="pt").input_ids


@torch.no_grad()
def sample(text_encoder, unet, scheduler_config: dict, ids: torch.Tensor, empty: torch.Tensor, noise: torch.Tensor,
           steps: int = 30, guidance: float = 4.0) -> torch.Tensor:
    scheduler = DDIMScheduler.from_config(scheduler_config)
    scheduler.set_timesteps(steps)
    states = text_encoder(torch.cat([empty.expand(len(ids), -1), ids])).last_hidden_state
    z = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        without, wanted = unet(torch.cat([z, z]), t, encoder_hidden_states=states).sample.float().chunk(2)
        z = scheduler.step(without + guidance * (wanted - without), t, z).prev_sample
    return z


@torch.no_grad()
def sample_flow(text, transformer, shift: float, ids: torch.Tensor, empty: torch.Tensor, z: torch.Tensor, steps: int = 28,
                guidance: float = 4.0) -> torch.Tensor:
    """A rectified flow by Euler's steps, from noise `z`; `text` gives states and pooled states of ids."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps)
    states, pooled = text(torch.cat([empty.expand(len(ids), -1), ids]))
    for t in scheduler.timesteps:
        without, wanted = transformer(torch.cat([z, z]), states, pooled, t.expand(2 * len(z))).sample.float().chunk(2)
        z = scheduler.step(without + guidance * (wanted - without), t, z).prev_sample
    return z


@torch.no_grad()
def decode(vae, z: torch.Tensor) -> torch.Tensor:
    return torch.cat([vae.decode(part / vae.config.scaling_factor).sample for part in z.split(8)])


def write_samples(run, vae, tokenizer, draw) -> None:
    """The prompts of GRID_PROMPTS with the averaged weights of a run, always from the same noise, as a grid in its folder.

    `draw(run, ids, empty, noise)` gives latents.
    """
    shape = (len(GRID_PROMPTS), vae.config.latent_channels, 16, 16)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(7))
    with run.averaged(), autocast():
        z = draw(run, tokens(tokenizer, GRID_PROMPTS), tokens(tokenizer, [""]), noise)
        save_grid(run.args.out / f"grid-{run.step:06d}.png", decode(vae, z), 8)
