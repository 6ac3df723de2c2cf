"""Makes the golden files beside it: small random models of the family and what transformers computes with them.

    pip install torch==2.11.0 transformers==5.23.0 safetensors numpy
    python make.py [VARIANT...]

Each folder holds a checkpoint as transformers writes it, and stages.safetensors:
- the samples (batch, sample) with their lengths, and for each row, cut to its real frames, the features, the projected
  features, the hidden states and logits;
- the labels of each row, the summed CTC loss, and its gradient with respect to a few parameters, as gradient.NAME.

Kinds whose convolutions see no padding (layer norms over channels, one positional convolution) are run as one padded
batch with its attention mask. Where transformers lets padding reach real frames (group norm over time, data2vec's stacked
positional convolutions, a batch norm before one) each utterance is run alone: only its own values are right.

pretraining-group and pretraining-layer hold a Wav2Vec2ForPreTraining and one batch of it in training mode: samples,
lengths, the mask (row, frame), negatives (row, frame, negative; frames of the same row, 0 where nothing is masked), the
Gumbel noise (row, frame, group, codevector), the temperature, what transformers computes with these, and gradients of the
loss. Under evaluation.: the same without noise. The three rows of pretraining-group are of one length. Computed in float64:
transformers leaves a negative out whose projected vector is the positive's to the bit, which in float32 equal vectors are
not always, as the sums of a matrix product depend on the row.

best-rq/stages.safetensors: labels of random features (frame, width) by a random projection (width, codevector width) and a
random codebook (codevector, codevector width) as in Chiu et al. 2022, arXiv:2202.01855, by numpy in float64.
"""

import argparse
import pathlib
import re
import sys

import numpy
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    Data2VecAudioConfig, Data2VecAudioForCTC, HubertConfig, HubertForCTC, Wav2Vec2Config, Wav2Vec2ForCTC,
    Wav2Vec2ForPreTraining, WavLMConfig, WavLMForCTC,
)
from transformers.models.wav2vec2.modeling_wav2vec2 import _sample_negative_indices

HERE = pathlib.Path(__file__).parent
LENGTHS = [4000, 400, 2613, 1039]  # 12, 1, 7 and 2 frames
LABELS = [[3, 5, 5, 2, 9], [4], [7, 1, 7], [10, 6]]
WAV2VEC2, HUBERT, WAVLM, DATA2VEC = (
    (Wav2Vec2Config, Wav2Vec2ForCTC), (HubertConfig, HubertForCTC), (WavLMConfig, WavLMForCTC),
    (Data2VecAudioConfig, Data2VecAudioForCTC),
)
GROUP_POST = dict(feat_extract_norm="group", do_stable_layer_norm=False, conv_bias=False, num_conv_pos_embeddings=8)
LAYER_PRE = dict(feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True, num_conv_pos_embeddings=8)
# 12 frames: distances up to 11 in four exact buckets and, for 4 to 11, logarithmic ones a side.
NEAR = dict(num_buckets=16, max_bucket_distance=10)
VARIANTS = {
    "group-post": (WAV2VEC2, GROUP_POST),
    "group-pre": (WAV2VEC2, {**GROUP_POST, "do_stable_layer_norm": True, "conv_bias": True, "num_conv_pos_embeddings": 5}),
    "layer-post": (WAV2VEC2, {**LAYER_PRE, "do_stable_layer_norm": False, "num_conv_pos_embeddings": 5}),
    "layer-pre": (WAV2VEC2, LAYER_PRE),
    "mms": (WAV2VEC2, {**LAYER_PRE, "adapter_attn_dim": 3}),
    "hubert-base": (HUBERT, GROUP_POST),
    "hubert-large": (HUBERT, {**LAYER_PRE, "adapter_attn_dim": 3}),
    "hubert-batch-norm": (HUBERT, {**GROUP_POST, "conv_pos_batch_norm": True, "feat_proj_layer_norm": False}),
    "wavlm-base": (WAVLM, {**GROUP_POST, **NEAR}),
    "wavlm-large": (WAVLM, {**LAYER_PRE, **NEAR}),
    "data2vec-audio": (DATA2VEC, dict(conv_bias=False, num_conv_pos_embeddings=3, conv_pos_kernel_size=5)),
}
ALONE = ["group-post", "group-pre", "hubert-base", "hubert-batch-norm", "wavlm-base", "data2vec-audio"]
# Of each kind of layer one, the first and the last of the network among them.
GRADIENTS = [
    "feature_extractor.conv_layers.0.conv.weight", "feature_extractor.conv_layers.0.layer_norm.weight",
    "feature_projection.projection.weight", "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    "encoder.pos_conv_embed.conv.bias", "encoder.pos_conv_embed.batch_norm.weight",
    "encoder.pos_conv_embed.layers.0.conv.weight", "encoder.layers.0.attention.k_proj.weight",
    "encoder.layers.0.attention.rel_attn_embed.weight", "encoder.layers.1.attention.gru_rel_pos_linear.weight",
    "encoder.layers.1.attention.gru_rel_pos_const", "encoder.layers.0.feed_forward.intermediate_dense.bias",
    "encoder.layers.1.adapter_layer.linear_1.weight", "encoder.layers.1.final_layer_norm.weight", "encoder.layer_norm.bias",
]
PRETRAINING = {  # the last: samples of each row, 12, 7 and 10 frames where they differ
    "pretraining-group": (GROUP_POST, [4000, 4000, 4000]),
    "pretraining-layer": (LAYER_PRE, [4000, 2613, 3300]),
}
MASKED = [[1, 2, 3, 6, 7, 8, 9], [0, 1, 3, 4, 6], [2, 3, 4, 7, 8, 9]]
QUANTISER = dict(
    num_codevectors_per_group=5, num_codevector_groups=2, codevector_dim=6, proj_codevector_dim=7, num_negatives=4,
    contrastive_logits_temperature=0.1, diversity_loss_weight=0.1, hidden_dropout=0.0, attention_dropout=0.0,
    activation_dropout=0.0, feat_proj_dropout=0.0, feat_quantizer_dropout=0.0, final_dropout=0.0, layerdrop=0.0,
)
TEMPERATURE = 1.7  # and the seed is one whose model uses several codevectors
PRETRAINING_GRADIENTS = [f"wav2vec2.{key}" for key in [*GRADIENTS, "masked_spec_embed"]] + [
    "quantizer.codevectors", "quantizer.weight_proj.weight", "quantizer.weight_proj.bias", "project_q.weight",
    "project_hid.weight", "project_hid.bias",
]


def run(model, samples, mask):
    """Stages of one batch, by transformers' own modules."""
    encoder = model.base_model
    features = encoder.feature_extractor(samples).transpose(1, 2)
    projected = encoder.feature_projection(features)
    projected = projected[0] if isinstance(projected, tuple) else projected
    hidden = encoder(samples, attention_mask=mask).last_hidden_state
    return dict(features=features, projected=projected, hidden=hidden, logits=model.lm_head(hidden))


def small(name, classes, variant, seed=7):
    """A random model, written to the folder of that name."""
    torch.manual_seed(seed)
    config_class, model_class = classes
    config = config_class(
        vocab_size=11, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        conv_dim=[6, 8, 8, 10, 8, 8, 12], num_conv_pos_embedding_groups=4, pad_token_id=0, **variant,
    )
    model = model_class(config).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():  # away from the ones and zeros that hide a missing term
            parameter.add_(torch.randn_like(parameter) * (0.3 if "norm" in key or "bias" in key else 0.15))
        for key, buffer in model.named_buffers():
            if "running" in key:
                buffer.add_(torch.rand_like(buffer))
    folder = HERE / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    return folder, model


def make(name, classes, variant):
    folder, model = small(name, classes, variant)
    samples = torch.zeros(len(LENGTHS), max(LENGTHS))
    for row, length in enumerate(LENGTHS):
        samples[row, :length] = torch.randn(length) * (0.3 + row)
    stages = {"samples": samples, "lengths": torch.tensor(LENGTHS)}
    frames = [int(model._get_feat_extract_output_lengths(torch.tensor(length))) for length in LENGTHS]
    if name in ALONE:
        alone = [run(model, samples[row : row + 1, :length], None) for row, length in enumerate(LENGTHS)]
        rows = [{stage: value[0] for stage, value in row.items()} for row in alone]
    else:
        mask = (torch.arange(max(LENGTHS))[None] < torch.tensor(LENGTHS)[:, None]).long()
        batch = run(model, samples, mask)
        rows = [{stage: value[row] for stage, value in batch.items()} for row in range(len(LENGTHS))]
    loss = 0
    for row, (values, count, labels) in enumerate(zip(rows, frames, LABELS)):
        for stage, value in values.items():
            stages[f"{stage}.{row}"] = value[:count].detach().contiguous()
        stages[f"labels.{row}"] = torch.tensor(labels)
        log_probabilities = values["logits"][:count].log_softmax(-1)[:, None]
        if len(labels) + sum(a == b for a, b in zip(labels, labels[1:])) <= count:
            loss = loss + torch.nn.functional.ctc_loss(
                log_probabilities, torch.tensor([labels]), torch.tensor([count]), torch.tensor([len(labels)]),
                blank=0, reduction="sum",
            )
    loss.backward()
    stages["loss"] = loss.detach()
    parameters = dict(model.named_parameters())
    for key in GRADIENTS:
        full = f"{model.base_model_prefix}.{key}"
        if full in parameters:
            stages[f"gradient.{full}"] = parameters[full].grad.contiguous()
    save_file(stages, folder / "stages.safetensors", metadata={"seed": "7", "torch": torch.__version__})


def make_pretraining(name, variant, lengths):
    folder, model = small(name, (Wav2Vec2Config, Wav2Vec2ForPreTraining), {**variant, **QUANTISER}, seed=14)
    model.double().set_gumbel_temperature(TEMPERATURE)
    vectors = []  # of the last call, before their projection
    model.project_q.register_forward_pre_hook(lambda module, inputs: vectors.__setitem__(slice(None), inputs))
    samples, frames, negatives = torch.zeros(len(lengths), max(lengths)), 12, QUANTISER["num_negatives"]
    mask = torch.zeros(len(lengths), frames, dtype=torch.bool)
    for row, length in enumerate(lengths):
        samples[row, :length] = torch.randn(length) * (0.3 + row)
        mask[row, MASKED[row]] = True
        assert max(MASKED[row]) < model._get_feat_extract_output_lengths(length)
    numpy.random.seed(14)
    drawn = torch.from_numpy(_sample_negative_indices(mask.shape, negatives, mask.numpy())).long()
    within = drawn - frames * torch.arange(len(lengths))[:, None, None]
    for row, frame in mask.nonzero().tolist():
        assert frame not in within[row, frame] and mask[row, within[row, frame]].all()
    assert (within[~mask] == 0).all()
    noise = -torch.empty(len(lengths), frames, 2, 5).exponential_().log()

    def gumbel_softmax(logits, tau, hard):  # torch's own, but for where the noise is from
        noisy = logits + noise.view(logits.shape)
        soft = (noisy / tau).softmax(-1)
        best = noisy.topk(2).values
        assert hard and (best[:, 0] - best[:, 1]).min() > 1e-3  # so that rounding changes no choice
        return torch.zeros_like(logits).scatter_(-1, soft.max(-1, keepdim=True)[1], 1.0) - soft.detach() + soft

    def forward():
        attention = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
        attention = attention if len(set(lengths)) > 1 else None
        out = model(samples.double(), attention_mask=attention, mask_time_indices=mask, sampled_negative_indices=drawn)
        same, left_out = [(x[:, :, None] == x.flatten(0, 1)[drawn]).all(-1)[mask]
                          for x in (vectors[0], out.projected_quantized_states)]
        assert same.any() and same.sum() < same.numel() / 2 and (same == left_out).all()
        results = dict(loss=out.loss, contrastive_loss=out.contrastive_loss, diversity_loss=out.diversity_loss,
                       perplexity=out.codevector_perplexity)
        return {key: value.detach().float() for key, value in results.items()}, out.loss

    torch.nn.functional.gumbel_softmax, original = gumbel_softmax, torch.nn.functional.gumbel_softmax
    model.train()
    results, loss = forward()
    torch.nn.functional.gumbel_softmax = original
    loss.backward()
    stages = {"samples": samples, "lengths": torch.tensor(lengths), "mask": mask, "negatives": within, "gumbel": noise,
              "temperature": torch.tensor(TEMPERATURE), **results}
    parameters = dict(model.named_parameters())
    gradients = {key: parameters[key].grad.float() for key in PRETRAINING_GRADIENTS if key in parameters}
    stages |= {f"gradient.{key}": value.contiguous() for key, value in gradients.items()}
    model.eval()
    stages |= {f"evaluation.{key}": value for key, value in forward()[0].items()}
    save_file(stages, folder / "stages.safetensors", metadata={"seed": "14", "torch": torch.__version__})


def make_best_rq():
    folder = HERE / "best-rq"
    folder.mkdir(exist_ok=True)
    random, bound = numpy.random.default_rng(7), (6 / (12 + 4)) ** 0.5  # Xavier's
    features, projection = random.normal(size=(40, 12)), random.uniform(-bound, bound, (12, 4))
    codebook = random.normal(size=(9, 4))
    codebook /= numpy.linalg.norm(codebook, axis=1, keepdims=True)
    stages = dict(features=features, projection=projection, codebook=codebook)
    stages = {key: value.astype(numpy.float32) for key, value in stages.items()}
    features, projection, codebook = (value.astype(numpy.float64) for value in stages.values())
    projected = features @ projection
    projected /= numpy.linalg.norm(projected, axis=1, keepdims=True)
    distances = numpy.linalg.norm(codebook[None] - projected[:, None], axis=2)
    assert numpy.diff(numpy.sort(distances, axis=1), axis=1).min() > 1e-4
    stages = {key: torch.from_numpy(value) for key, value in stages.items()}
    stages["labels"] = torch.from_numpy(distances.argmin(axis=1))
    save_file(stages, folder / "stages.safetensors", metadata={"seed": "7", "numpy": numpy.__version__})


def make_files():
    """The weights of layer-pre in torch's own files, and under fairseq's names as a pretraining checkpoint of 2020."""
    folder = HERE / "files"
    folder.mkdir(exist_ok=True)
    state = load_file(HERE / "layer-pre" / "model.safetensors")
    torch.save(state, folder / "zip.bin")
    old = {k.replace("parametrizations.weight.original0", "weight_g").replace("parametrizations.weight.original1", "weight_v"): v
           for k, v in state.items()}
    torch.save(old, folder / "legacy.bin", _use_new_zipfile_serialization=False)

    def fairseq(name):
        name = name.removeprefix("wav2vec2.")
        for ours, theirs in [
            ("masked_spec_embed", "mask_emb"), ("feature_projection.projection.", "post_extract_proj."),
            ("feature_projection.layer_norm.", "layer_norm."), ("encoder.pos_conv_embed.conv.", "encoder.pos_conv.0."),
            (".attention.", ".self_attn."), (".feed_forward.intermediate_dense.", ".fc1."),
            (".feed_forward.output_dense.", ".fc2."), (".conv.", ".0."),
        ]:
            name = name.replace(ours, theirs)
        name = re.sub(r"(encoder.layers.\d+).layer_norm", r"\1.self_attn_layer_norm", name)
        return re.sub(r"(conv_layers.\d+).layer_norm", r"\1.2.1", name)

    torch.manual_seed(7)
    model = {fairseq(name): tensor for name, tensor in old.items() if not name.startswith("lm_head")}
    model |= {"quantizer.vars": torch.randn(1, 4, 3), "quantizer.weight_proj.weight": torch.randn(4, 12),
              "quantizer.weight_proj.bias": torch.randn(4), "project_q.weight": torch.randn(5, 6),
              "project_q.bias": torch.randn(5), "final_proj.weight": torch.randn(5, 16), "final_proj.bias": torch.randn(5)}
    args = argparse.Namespace(
        arch="wav2vec2", encoder_layers=2, encoder_embed_dim=16, encoder_ffn_embed_dim=24, encoder_attention_heads=2,
        extractor_mode="layer_norm", layer_norm_first=True, conv_bias=True, conv_pos=8, conv_pos_groups=4, normalize=True,
        conv_feature_layers="[(6, 10, 5)] + [(8, 3, 2)] * 2 + [(10, 3, 2)] + [(8, 3, 2)] + [(8, 2, 2)] + [(12, 2, 2)]",
    )
    whole = {"args": args, "model": model, "optimizer_history": [{"num_updates": 1}], "extra_state": {"epoch": 1}}
    torch.save(whole, folder / "fairseq.pt", _use_new_zipfile_serialization=False)


for name, (classes, variant) in VARIANTS.items():
    if not sys.argv[1:] or name in sys.argv[1:]:
        make(name, classes, variant)
for name, (variant, lengths) in PRETRAINING.items():
    if not sys.argv[1:] or name in sys.argv[1:]:
        make_pretraining(name, variant, lengths)
if not sys.argv[1:] or "best-rq" in sys.argv[1:]:
    make_best_rq()
if not sys.argv[1:] or "files" in sys.argv[1:]:
    make_files()
