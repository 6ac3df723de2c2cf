"""Random checkpoints on disk, as transformers writes them and as the published ones are laid out."""

import json

import torch
from safetensors.torch import save_file

import reference


def perturb(model, weights=0.1, norms=0.1):
    """Moves every parameter and running statistic away from the zeros and ones that hide a missing term.

    With larger deviations all frames of a small model come to look alike, and it is their differences that tell.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = norms if "norm" in name or name.endswith("bias") else weights
            parameter.add_(torch.randn_like(parameter) * scale)
        for name, statistic in model.named_buffers():
            if name.endswith("running_mean"):
                statistic.copy_(torch.randn_like(statistic) * norms)
            elif name.endswith("running_var"):
                statistic.copy_(torch.rand_like(statistic) + 0.5)
    return model.eval()


def settle(model, samples):
    """Takes each token's mean logit over an utterance from its bias: the best token then differs among frames."""
    with torch.no_grad():
        model.lm_head.bias.sub_(model(input_values=samples).logits[0].mean(0))


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False), "utf-8")


def write_preprocessor(folder, normalise, attention_mask):
    write_json(folder / "preprocessor_config.json", dict(
        feature_extractor_type="Wav2Vec2FeatureExtractor", feature_size=1, sampling_rate=16_000, padding_value=0.0,
        padding_side="right", do_normalize=normalise, return_attention_mask=attention_mask,
    ))


def write_tokenizer(folder, tokens):
    """vocab.json and tokenizer_config.json; `tokens` is a list, or lists by language."""
    ids = lambda names: {token: index for index, token in enumerate(names)}  # noqa: E731
    nested = isinstance(tokens, dict)
    vocabulary = {language: ids(names) for language, names in tokens.items()} if nested else ids(tokens)
    tokenizer = dict(
        tokenizer_class="Wav2Vec2CTCTokenizer", pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        word_delimiter_token="|", replace_word_delimiter_char=" ", do_lower_case=False,
    )
    if nested:
        tokenizer["target_lang"] = next(iter(tokens))
    write_json(folder / "vocab.json", vocabulary)
    write_json(folder / "tokenizer_config.json", tokenizer)


def write_adapters(model, folder, languages):
    """MMS: the adapters of the blocks and the head, once a language. The first language's are the model's own."""
    for number, (language, tokens) in enumerate(languages.items()):
        adapters = {name: value.detach().clone() for name, value in model._get_adapters().items()}
        if number > 0:
            width = adapters["lm_head.weight"].shape[1]
            adapters["lm_head.weight"] = torch.zeros(len(tokens), width)
            adapters["lm_head.bias"] = torch.zeros(len(tokens))
            adapters = {name: value + torch.randn_like(value) * 0.3 for name, value in adapters.items()}
        save_file(adapters, folder / f"adapter.{language}.safetensors", metadata={"format": "pt"})


def write(family, folder, utterance, seed=7):
    """Writes a random checkpoint of a family, with something to say about an utterance, and returns the model."""
    torch.manual_seed(seed)
    model = perturb(family.model(family.config))
    # As the published checkpoints have it: a mask for layer-normed encoders, none for group-normed ones.
    attention_mask = getattr(family.config, "feat_extract_norm", "layer") == "layer"
    folder.mkdir()
    write_tokenizer(folder, family.tokens)
    write_preprocessor(folder, family.normalise, attention_mask)
    settle(model, reference.samples(folder, utterance))
    model.save_pretrained(folder)
    if isinstance(family.tokens, dict):
        write_adapters(model, folder, family.tokens)
    return model

