"""Sheets of generated pictures with the judge's verdicts under them, for a careful look; and the count of that look.

    python training/agreement.py draw  models/emoji-unet OUT [--heddle build/heddle] [--count 200] [--guidance 4] [--rescale 0.7]
    python training/agreement.py count OUT

`draw` writes OUT/sheet-N.png (40 pictures each) and OUT/verdicts.txt: number, prompt, what the judge saw. Whoever looks writes
OUT/look.txt: a line "NUMBER: what is wrong with the verdict" for each picture whose verdict they do not share. `count` tells the rest.
"""
import argparse
import json
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from world.captions import caption
from world.scenes import Options, sample_scene

SEED = 900_004
PER_SHEET, COLUMNS, TEXT = 40, 8, 42  # pixels under a picture


def prompts(count: int) -> list[str]:
    """As many of one subject as of two."""
    one, two = Options(counts=(1.0, 0.0, 0.0)), Options(counts=(0.0, 1.0, 0.0))
    return [caption(sample_scene(SEED, i, one if i % 2 == 0 else two)) for i in range(count)]


def words(verdict: dict) -> list[str]:
    named = [o["subject"] if o["colour"] == "own" else f"{o['colour']} {o['subject']}" for o in verdict["objects"]]
    return [*named, verdict["background"]]


def draw(args) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    texts = prompts(args.count)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for i, text in enumerate(texts):
            preset = {"heddle": 1, "model": str(args.model.resolve()), "prompt": text, "seed": i,
                      "sampler": {"name": "ddim", "steps": 30, "guidance": args.guidance, "guidance_rescale": args.rescale}}
            file = Path(folder) / f"{i:03d}.yaml"
            file.write_text(json.dumps(preset))
            files.append(str(file.with_suffix(".png")))
            subprocess.run([args.heddle, "run", file, "-o", files[-1]], check=True, capture_output=True)
        out = subprocess.run([args.heddle, "judge", "--json", *files], check=True, capture_output=True, text=True).stdout
        verdicts = [json.loads(line) for line in out.splitlines()]
        for first in range(0, len(files), PER_SHEET):
            sheet(files[first:first + PER_SHEET], verdicts[first:first + PER_SHEET], first, args.out / f"sheet-{first // PER_SHEET}.png")
    lines = [f"{i:03d}\t{text}\t{', '.join(words(v))}" for i, (text, v) in enumerate(zip(texts, verdicts))]
    (args.out / "verdicts.txt").write_text("\n".join(lines) + "\n")


def sheet(files: list[str], verdicts: list[dict], first: int, path: Path) -> None:
    side = 132
    rows = -(-len(files) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * side, rows * (side + TEXT)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    for k, (file, verdict) in enumerate(zip(files, verdicts)):
        x, y = k % COLUMNS * side, k // COLUMNS * (side + TEXT)
        picture = Image.open(file).convert("RGB")
        boxes = ImageDraw.Draw(picture)
        for o in verdict["objects"]:
            boxes.rectangle(o["box"], outline="magenta" if o["subject"] == "unknown" else "white")
        page.paste(picture, (x + 2, y + 2))
        *objects, background = words(verdict)
        for line, text in enumerate([f"{first + k:03d} {background}", *(objects or ["nothing"])][:3]):
            pen.text((x + 3, y + side - 1 + 13 * line), text, fill="black", font=font)
    page.save(path)


def count(args) -> None:
    total = len((args.out / "verdicts.txt").read_text().splitlines())
    wrong = [line for line in (args.out / "look.txt").read_text().splitlines() if line.strip()]
    print(json.dumps({"pictures": total, "not shared": len(wrong), "agreement": round(1 - len(wrong) / total, 4)}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=("draw", "count"))
    parser.add_argument("paths", type=Path, nargs="+", help="draw: MODEL OUT; count: OUT")
    parser.add_argument("--heddle", default="build/heddle")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--rescale", type=float, default=0.7, help="guidance_rescale")
    args = parser.parse_args()
    args.out = args.paths[-1]
    args.model = args.paths[0]
    (draw if args.task == "draw" else count)(args)


if __name__ == "__main__":
    main()
