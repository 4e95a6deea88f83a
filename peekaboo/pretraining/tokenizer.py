"""The embedded tokenizer: CLIP's byte-level BPE, with merges learned from the captions of the embedded world."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from ..data.looks import vocabulary
from ..data.scenes import noun_phrase

#: Words of captions that are not names of objects.
CAPTION_WORDS = """
a an the and of on at in with left right top bottom small big photo picture image background object
red green blue yellow orange brown black white grey pink purple
""".split()  # noqa: SIM905  (a list of forty quoted words is harder to read)
MAX_LENGTH = 20
START, END = "<|startoftext|>", "<|endoftext|>"


def build_tokenizer(folder: Path) -> CLIPTokenizer:
    """Writes a `CLIPTokenizer` folder in which every word of the embedded world is one token, and returns it.

    Any other word is spelled from smaller pieces, so that no prompt fails. The list of known words stands beside it
    in ``vocabulary.json``.
    """
    words = known_words()
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(ByteLevel.alphabet())
    last_letters = [f"{letter}</w>" for letter in alphabet]
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        min_frequency=2,
        end_of_word_suffix="</w>",
        initial_alphabet=alphabet,
        # Equally frequent pairs merge in the order of their ids; letters that end a word get random ones unless given.
        special_tokens=last_letters,
        show_progress=False,
    )
    bpe.train_from_iterator([word for word in words for _ in range(2)], trainer)
    merges = [tuple(m) for m in json.loads(bpe.to_str())["model"]["merges"]]
    tokens = [START, END, *alphabet, *last_letters, *("".join(m) for m in merges)]
    vocabulary_of_ids = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary_of_ids, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in merges) + "\n")
    tokenizer = CLIPTokenizer(
        vocab=vocabulary_of_ids,
        merges=merges,
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        model_max_length=MAX_LENGTH,
    )
    tokenizer.save_pretrained(folder)
    (folder / "vocabulary.json").write_text(json.dumps(words, indent=0))
    return tokenizer


def known_words() -> list[str]:
    """Returns every single word that the captions of the embedded world use, sorted."""
    phrases = [noun_phrase(name) for name in vocabulary()]
    return sorted({word for phrase in phrases for word in phrase.replace("-", " ").split()} | set(CAPTION_WORDS))
