"""Writes CLIP tokenizer files (vocab.json, merges.txt, tokenizer_config.json) for the caption grammar.

Byte-pair training as CLIP's: 256 byte symbols, the same 256 at the end of a word, merges, two special tokens. Any text
can be spelled with the byte symbols; every word of the grammar ends up as one token.
"""
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

from transformers import CLIPTokenizer

from world.captions import caption
from world.scenes import Options, sample_scene

def byte_symbols() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes, in the order CLIP's vocabulary has them."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]


def word_counts(seed: int, pictures: int) -> Counter:
    options = Options(counts=(0.34, 0.33, 0.33))
    counts = Counter()
    for held_out in (False, True):  # the same words; only their combinations are held out
        for i in range(pictures if not held_out else pictures // 10):
            scene = sample_scene(seed, i, replace(options, held_out=held_out))
            counts.update(caption(scene).replace(",", " , ").split())
    return counts


def train_merges(counts: Counter) -> list[tuple[str, str]]:
    """Merges the commonest neighbours until every word is one symbol; ties go to the alphabet, so that it repeats."""
    words = {tuple(w[:-1]) + (w[-1] + "</w>",): n for w, n in counts.items()}
    merges = []
    while any(len(w) > 1 for w in words):
        pairs = Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        words = {_merge(word, best): n for word, n in words.items()}
    return merges


def _merge(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out, i = [], 0
    while i < len(word):
        joined = word[i:i + 2] == pair
        out.append(word[i] + word[i + 1] if joined else word[i])
        i += 2 if joined else 1
    return tuple(out)


def write(folder: Path, seed: int = 5, pictures: int = 20000, length: int = 77) -> CLIPTokenizer:
    folder.mkdir(parents=True, exist_ok=True)
    merges = train_merges(word_counts(seed, pictures))
    alphabet = byte_symbols()
    tokens = alphabet + [s + "</w>" for s in alphabet] + ["".join(p) for p in merges]
    vocab = {t: i for i, t in enumerate(dict.fromkeys(tokens + ["<|startoftext|>", "<|endoftext|>"]))}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    lines = ["#version: 0.2", *(" ".join(p) for p in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": length, "add_prefix_space": False, "do_lower_case": True,
              "errors": "replace", **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    return CLIPTokenizer.from_pretrained(folder)
