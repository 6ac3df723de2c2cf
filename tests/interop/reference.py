"""What transformers computes: the stages of one utterance, and the text it reads off them."""

import functools

import numpy
import torch
from transformers import AutoModelForCTC, Wav2Vec2FeatureExtractor

import audio


def open_model(folder, language=None, **options):
    """The model of a folder, to compute in fp32."""
    if language is not None:
        # Heads differ in size from language to language.
        options |= dict(target_lang=language, ignore_mismatched_sizes=True)
    model = AutoModelForCTC.from_pretrained(folder, dtype=torch.float32, **options)
    return model[0].eval() if isinstance(model, tuple) else model.eval()


@functools.cache
def preprocessor(folder):
    return Wav2Vec2FeatureExtractor.from_pretrained(folder)


def samples(folder, path):
    """A recording as the model's preprocessor makes it: (1, sample), fp32."""
    return preprocessor(folder)(audio.read(path), sampling_rate=audio.RATE, return_tensors="pt").input_values


def stages(model, values):
    """Features, projected features, hidden states and logits, each (frame, ·) in fp32."""
    encoder = getattr(model, model.base_model_prefix, model)
    with torch.no_grad():
        features = encoder.feature_extractor(values).transpose(1, 2)
        projected = encoder.feature_projection(features)
        found = dict(features=features, projected=projected[0] if isinstance(projected, tuple) else projected)
        found["hidden"] = encoder(input_values=values).last_hidden_state
        if hasattr(model, "lm_head"):
            found["logits"] = model(input_values=values).logits
    return {stage: value[0].numpy() for stage, value in found.items()}


def text(processor, logits):
    """The greedy text, by the spaces between words and without the tokens that are no text, which klang writes none of.

    Skipping special tokens is not asked of the tokenizer: it drops the blank before it merges repeats.
    """
    read = processor.tokenizer.decode(numpy.argmax(logits, axis=-1))
    for special in processor.tokenizer.all_special_tokens:
        read = read.replace(special, "")
    return " ".join(read.split())


def relative_error(got, expected):
    """The largest difference over the largest value; infinite where shapes differ, or nothing varies to be compared."""
    if got.shape != expected.shape or not numpy.ptp(expected) > 0:
        return float("inf")
    return float(numpy.abs(got.astype("f8") - expected.astype("f8")).max() / numpy.abs(expected).max())
