"""What transformers' Wav2Vec2CTCTokenizer makes of a folder's files, for tests/vocabulary.rs.

    pip install transformers==5.23.0
    python -P vocabulary.py > vocabulary.json

`files` is a folder; `tokens`, `special`, `encoded` and `decoded` are what transformers reads there, its own special tokens
included; `written` is the folder that klang should write for it. That transformers reads the same in `written` is asserted here.
"""

import json
import os
import pathlib
import tempfile

import transformers
from transformers import Wav2Vec2CTCTokenizer

transformers.logging.set_verbosity_error()

LETTERS = "E T A O N I H S R D L U M W C F G Y P B V K ' X J Q Z".split()
BASE_960H = {token: i for i, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS])}
XLSR = {token: i for i, token in enumerate([*"abginŋ", "|", "[UNK]", "[PAD]"])}
BRACKETS = {"unk_token": "[UNK]", "pad_token": "[PAD]"}
NONE = {"bos_token": None, "eos_token": None}
MMS = {
    "eng": {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "a": 5, "i": 6, "n": 7},
    "tur": {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "ı": 5, "n": 6, "ç": 7, "a": 8, "i": 9},
}


def token(content, special):
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": special}


def read(files, **options):
    with tempfile.TemporaryDirectory() as folder:
        for name, document in files.items():
            (pathlib.Path(folder) / name).write_text(json.dumps(document), encoding="utf-8")
        return Wav2Vec2CTCTokenizer.from_pretrained(folder, **options)


def saved(tokenizer):
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        files = {name: json.loads((pathlib.Path(folder) / name).read_text(encoding="utf-8")) for name in sorted(os.listdir(folder))}
    del files["tokenizer_config.json"]["model_max_length"]
    return files


def extended(files, tokens):
    tokenizer = read(files)
    tokenizer.add_tokens(tokens)
    return saved(tokenizer)


def folders():
    """name, files, language, texts"""
    yield "base_960h", {
        "vocab.json": BASE_960H,
        "tokenizer_config.json": {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>",
                                  "do_lower_case": False, "return_attention_mask": False, "do_normalize": True},
        "special_tokens_map.json": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"},
    }, None, ["IT'S A TEST", "A4B"]
    yield "base_960h_lower_case", {"vocab.json": BASE_960H, "tokenizer_config.json": {"do_lower_case": True}}, None, [
        "it's a Test", "stra\u00dfe"]
    four = {"content": "<s>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": True}
    yield "xlsr_old", {
        "vocab.json": XLSR,
        "tokenizer_config.json": {**BRACKETS, "do_lower_case": False, "word_delimiter_token": "|",
                                  "replace_word_delimiter_char": " ", "tokenizer_class": "Wav2Vec2CTCTokenizer"},
        "special_tokens_map.json": {**BRACKETS, "bos_token": "<s>", "eos_token": {**four, "content": "</s>"}},
        "added_tokens.json": {"<s>": 9, "</s>": 10},
    }, None, ["ban ŋa", "xa"]
    plain = {"vocab.json": XLSR, "tokenizer_config.json": BRACKETS}
    yield "transformers_adds_its_own", plain, None, ["ba"]
    yield "xlsr_new", saved(read(plain)), None, ["ban ŋa"]
    yield "digraph_and_letter_added", extended(plain, ["ng", "ɛ"]), None, ["banga ɛng a ng", "nga"]
    yield "added_before_4_34", {**plain, "added_tokens.json": {"<s>": 9, "</s>": 10, "ng": 11, "[PAD]": 8}}, None, ["bang ng"]
    capitals = {"vocab.json": BASE_960H, "tokenizer_config.json": {"do_lower_case": True}}
    yield "added_small_letters_lower_case", extended(capitals, ["th", "ŋ"]), None, ["the ŋ", "THE"]
    other = {"unk_token": "a", "pad_token": "b"}
    yield "the_map_goes_over_the_configuration", {**plain, "special_tokens_map.json": {**other, "bos_token": None}}, None, ["ng"]
    decoder = {**plain["tokenizer_config.json"], "added_tokens_decoder": {"9": token("<s>", True), "10": token("</s>", True)}}
    yield "added_tokens_decoder_silences_the_map", {
        "vocab.json": XLSR, "tokenizer_config.json": decoder, "special_tokens_map.json": other,
        "added_tokens.json": {"x": 9},
    }, None, ["ba"]
    yield "additional_special_tokens", {
        "vocab.json": XLSR, "tokenizer_config.json": {**BRACKETS, **NONE, "additional_special_tokens": ["<x>", "ŋ", "<x>"]},
    }, None, ["ba"]
    yield "another_delimiter", {
        "vocab.json": {"<pad>": 0, "<unk>": 1, "_": 2, "a": 3},
        "tokenizer_config.json": NONE, "special_tokens_map.json": {"word_delimiter_token": "_"},
        "added_tokens.json": {"ŋ": 4},
    }, None, ["aŋ a"]
    yield "words_without_spaces", {
        "vocab.json": XLSR, "tokenizer_config.json": {**BRACKETS, **NONE, "replace_word_delimiter_char": ""},
    }, None, ["ba ba"]
    yield "mms", {"vocab.json": MMS, "tokenizer_config.json": {"target_lang": "eng"}}, None, ["in a"]
    yield "mms_another_language", {"vocab.json": MMS, "tokenizer_config.json": {"target_lang": "eng"}}, "tur", ["ça ın"]


def reading(tokenizer, texts):
    ids = range(len(tokenizer))
    special = [i for i in tokenizer.all_special_ids if i is not None and i != tokenizer.word_delimiter_token_id]
    encoded = [[text, tokenizer(text).input_ids] for text in texts]
    labels = [labels for _, labels in encoded] + [list(ids)]
    return {
        "tokens": tokenizer.convert_ids_to_tokens(list(ids)),
        "special": sorted(set(special)),
        "encoded": encoded,
        "decoded": [[row, tokenizer.decode(row, skip_special_tokens=True, group_tokens=False)] for row in labels],
    }


def written(tokenizer):
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    own = len(tokenizer.decoder)
    special = set(tokenizer.all_special_tokens)
    delimiter = tokenizer.word_delimiter_token
    roles = {key: getattr(tokenizer, key) for key in ["pad_token", "unk_token", "bos_token", "eos_token"]}
    config = {
        **roles,
        "tokenizer_class": "Wav2Vec2CTCTokenizer",
        "word_delimiter_token": delimiter,
        "replace_word_delimiter_char": tokenizer.replace_word_delimiter_char,
        "do_lower_case": tokenizer.do_lower_case,
        "clean_up_tokenization_spaces": False,
    }
    others = [t for t in tokens if t in special and t != delimiter and t not in roles.values()]
    if others:
        config["additional_special_tokens"] = others
    files = {"vocab.json": {t: i for i, t in enumerate(tokens[:own])}, "tokenizer_config.json": config,
             "special_tokens_map.json": roles}
    if delimiter != "|":
        files["special_tokens_map.json"] = {**roles, "word_delimiter_token": delimiter}
    if own < len(tokens):
        files["added_tokens.json"] = {t: i for i, t in enumerate(tokens) if i >= own}
        if delimiter == "|":
            config["added_tokens_decoder"] = {
                str(i): token(t, t in special) for i, t in enumerate(tokens) if i >= own}
    return files


def main():
    cases = []
    for name, files, language, texts in folders():
        tokenizer = read(files, **({"target_lang": language} if language else {}))
        case = {"name": name, "files": files, "language": language, **reading(tokenizer, texts), "written": written(tokenizer)}
        again = reading(read(case["written"]), texts)
        assert all(again[key] == case[key] for key in again), (name, again, case)
        cases.append(case)
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    print(f'{{"made_by": {json.dumps({"transformers": transformers.__version__})},\n"cases": [\n{lines}\n]}}')


main()
