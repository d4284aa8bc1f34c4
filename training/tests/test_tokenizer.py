"""The tokenizer: one token for each word of the grammar, and any text at all can be spelled."""
import json

import pytest

import tokenizer as tokenizer_files
from world.captions import caption
from world.scenes import Options, sample_scene


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    tokenizer_files.write(path, pictures=4000)
    return path


@pytest.fixture(scope="module")
def tokenizer(folder):
    return tokenizer_files.CLIPTokenizer.from_pretrained(folder)


def test_every_caption_word_is_one_token(tokenizer):
    for i in range(500):
        words = caption(sample_scene(77, i, Options((0.3, 0.3, 0.4)))).replace(",", " ,").split()
        ids = tokenizer(" ".join(words)).input_ids
        assert len(ids) == len(words) + 2
        assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)


def test_any_text_can_be_spelled(tokenizer):
    for text in ("zebra", "\u4e16\u754c", "\U0001F431", "naïve 12%", "\u0000"):
        ids = tokenizer(text, add_special_tokens=False).input_ids
        assert tokenizer.eos_token_id not in ids


def test_files_are_clip_files(folder):
    vocab = json.loads((folder / "vocab.json").read_text())
    lines = (folder / "merges.txt").read_text().splitlines()
    assert sorted(vocab.values()) == list(range(len(vocab))) and lines[0].startswith("#version")
    assert list(vocab)[-2:] == ["<|startoftext|>", "<|endoftext|>"]
    for line in lines[1:]:
        a, b = line.split(" ")
        assert {a, b, a + b} <= set(vocab)


def test_the_same_files_every_time(folder, tmp_path):
    tokenizer_files.write(tmp_path, pictures=4000)
    assert (tmp_path / "merges.txt").read_bytes() == (folder / "merges.txt").read_bytes()
