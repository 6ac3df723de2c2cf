"""Pretraining goes on from one to the other: klang's runs open in transformers, transformers' models in klang."""

import json

import numpy
import torch
from transformers import AutoModel, Wav2Vec2Config, Wav2Vec2ForPreTraining
from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices, _sample_negative_indices

import audio
import checkpoints
import klang
import outward
import reference
import report
from families import BASE, LARGE, SMALL

# Unlike the published ones, and each other: a number that is lost on the way shows.
CODEBOOK = dict(num_codevectors_per_group=6, codevector_dim=10, proj_codevector_dim=14, num_negatives=7)
CODEBOOK |= dict(contrastive_logits_temperature=0.3, diversity_loss_weight=0.2)
TOKENS = ["vocab_size", "pad_token_id", "bos_token_id", "eos_token_id"]
SHAPE = {key: value for key, value in (SMALL | CODEBOOK).items() if key not in TOKENS}
# `base` for its seven convolutions; all the widths are SHAPE's.
FROM_RANDOM = {"model.size": "base", "model.architecture": json.dumps(SHAPE)}
WAV2VEC2, BEST_RQ = {"pretrain.objective": "wav2vec2"}, {"pretrain.objective": "best_rq"}
LAYER_NORM = {"model.norm.kind": "layer_norm"}  # in place of the recipe's KL-Norm
# Settings of a run, the class that opens it, and the names of what no tool but klang knows.
RUNS = {
    "wav2vec2": (WAV2VEC2 | LAYER_NORM, Wav2Vec2ForPreTraining, []),
    "best-rq": (BEST_RQ | LAYER_NORM, AutoModel, ["best_rq."]),
    "best-rq-kl-norm": (BEST_RQ, AutoModel, ["best_rq.", ".kl_norm."]),
}
UNMOVED = 1e-6  # two updates at 1e-9, and fp32's rounding of weights about 1


def compare(work):
    report.section("pretraining")
    outward.corpus(work)
    for name, run in RUNS.items():
        with report.case(f"pretrained by {name}"):
            to_transformers(work, f"pretrained-{name}", *run)
    for name, keys in {"base": BASE, "large": LARGE}.items():
        with report.case(f"pretrained further, {name}"):
            from_transformers(work, f"further-{name}", keys)


def to_transformers(work, name, settings, kind, own):
    """klang's best model has each weight where transformers looks for it, and an encoder that computes the same."""
    run = work / name
    klang.pretrain(work / outward.RECIPE.name, run, FROM_RANDOM | settings)
    weights, _ = klang.tensors(run / "best/model.safetensors")
    stock = {key: value for key, value in weights.items() if not any(part in key for part in own)}
    model = outward.loaded(name, kind, run / "best", unexpected=weights.keys() - stock.keys())
    encoder = getattr(model, "wav2vec2", model)
    root = "wav2vec2." if encoder is model else ""
    holds(name, {key.removeprefix(root): value for key, value in stock.items()}, model, bound=0.0)
    if encoder is not model:
        value = loss(model, run / "best")
        report.check(f"{name}, loss", 0 < value < float("inf"), "a finite loss", value)
    outward.same_encoder(name, work, run, encoder)


def from_transformers(work, name, keys):
    """klang goes on with the whole of transformers' model: two updates that move nothing leave it as it was."""
    torch.manual_seed(17)
    model = checkpoints.perturb(Wav2Vec2ForPreTraining(Wav2Vec2Config(**SMALL | keys | CODEBOOK)))
    folder, run = work / f"checkpoint-{name}", work / name
    model.save_pretrained(folder)
    checkpoints.write_preprocessor(folder, normalise=True, attention_mask=keys is LARGE)
    settings = {"model.init": folder, "train.learning_rate": "1.0e-9"} | WAV2VEC2 | LAYER_NORM
    said = klang.pretrain(work / outward.RECIPE.name, run, settings)
    for complaint in ("drawn afresh", "not used"):
        report.check(f"{name}, weights", complaint not in said, f"none that is {complaint}", said)
    weights, _ = klang.tensors(run / "best/model.safetensors")
    holds(name, weights, model, UNMOVED)
    expected, got = loss(model, folder), loss(outward.loaded(name, Wav2Vec2ForPreTraining, run / "best"), run / "best")
    report.compared(name, {"loss": abs(got - expected) / expected}, outward.BOUND)


def holds(name, weights, model, bound):
    """That these are the model's weights, all of them, to within a bound."""
    state = {key: value.numpy() for key, value in model.state_dict().items()}
    report.equal(f"{name}, names of weights", sorted(state), sorted(weights))
    off = {key: float(abs(weights[key] - state[key]).max()) for key in state.keys() & weights.keys()}
    worst = max(off, key=off.get)
    report.check(f"{name}, {worst}", off[worst] <= bound, f"a difference of at most {bound:.0e}", off[worst])


def loss(model, folder):
    """transformers' loss on a recording, with a mask and distractors that are the same each time."""
    values = reference.samples(folder, audio.recordings(1)[0])
    shape = 1, int(model._get_feat_extract_output_lengths(values.shape[1]))
    numpy.random.seed(19)
    mask = _compute_mask_indices(shape, mask_prob=0.5, mask_length=5)
    negatives = _sample_negative_indices(shape, model.config.num_negatives, mask)
    drawn = dict(mask_time_indices=mask, sampled_negative_indices=negatives)
    with torch.no_grad():
        return float(model(values, **{key: torch.from_numpy(value) for key, value in drawn.items()}).loss)
