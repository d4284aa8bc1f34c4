"""Two dozen prompts drawn by a model, seeds 0 to 23 in this order, side by side: the pictures of the model cards. Needs Pillow.

    python bench/prompt_grid.py MODEL PICTURE [--heddle build/heddle]
"""
import argparse
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

PROMPTS = ["a cat on grass", "a dog on sand", "a panda on snow", "a fox at night", "a frog on bricks", "a lion in the sky", "a pig on grass", "a bear on snow",
           "an owl on sand", "a penguin on snow", "a red balloon in the sky", "a pink heart on grass", "a yellow star at night", "a blue car on sand",
           "a purple umbrella on snow", "a green apple on bricks", "an orange shirt on grass", "a cyan flower on sand", "a red balloon left of a cat on grass",
           "a panda left of a dog on sand", "a blue umbrella above a fox on snow", "a bear left of a yellow star at night", "a pig above a green car in the sky",
           "an orange flower left of a penguin on bricks"]
COLUMNS = 8


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("picture")
    parser.add_argument("--heddle", default="build/heddle")
    args = parser.parse_args()
    pictures = []
    with tempfile.TemporaryDirectory() as folder:
        preset, drawn = Path(folder) / "preset.yaml", Path(folder) / "drawn.png"
        for seed, prompt in enumerate(PROMPTS):
            preset.write_text(f'heddle: 1\nmodel: {args.model}\nprompt: "{prompt}"\nseed: {seed}\n')
            subprocess.run([args.heddle, "run", preset, "-o", drawn], check=True, stdout=subprocess.DEVNULL)
            pictures.append(Image.open(drawn).convert("RGB"))
    width, height = pictures[0].size
    grid = Image.new("RGB", (COLUMNS * width, -(-len(pictures) // COLUMNS) * height))
    for i, picture in enumerate(pictures):
        grid.paste(picture, (i % COLUMNS * width, i // COLUMNS * height))
    grid.save(args.picture)


if __name__ == "__main__":
    main()
