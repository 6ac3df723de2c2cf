"""Makes the golden files beside it: small random Wav2Vec2ForCTC models and what transformers computes with them.

    pip install torch==2.11.0 transformers==5.23.0 safetensors numpy
    python make.py

Each folder holds a checkpoint as transformers writes it, and stages.safetensors: the samples (batch, sample) with their
lengths, and for each row, cut to its real frames, the features, the projected features, the hidden states and logits.

Layer-norm feature encoders are run as one padded batch with its attention mask. Group-norm ones are run one utterance
at a time: transformers counts padding in the group norm's statistics, and only an utterance's own values are right.
"""

import pathlib

import torch
from safetensors.torch import save_file
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

HERE = pathlib.Path(__file__).parent
LENGTHS = [4000, 400, 2613, 1039]  # 12, 1, 7 and 2 frames
VARIANTS = {
    "group-post": dict(feat_extract_norm="group", do_stable_layer_norm=False, conv_bias=False, num_conv_pos_embeddings=8),
    "group-pre": dict(feat_extract_norm="group", do_stable_layer_norm=True, conv_bias=True, num_conv_pos_embeddings=5),
    "layer-post": dict(feat_extract_norm="layer", do_stable_layer_norm=False, conv_bias=True, num_conv_pos_embeddings=5),
    "layer-pre": dict(feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True, num_conv_pos_embeddings=8),
}


def run(model, samples, mask):
    """Stages of one batch, by transformers' own modules."""
    encoder = model.wav2vec2
    features = encoder.feature_extractor(samples).transpose(1, 2)
    projected, _ = encoder.feature_projection(features)
    output = model(samples, attention_mask=mask, output_hidden_states=True)
    hidden = encoder(samples, attention_mask=mask).last_hidden_state
    return dict(features=features, projected=projected, hidden=hidden, logits=output.logits)


def make(name, variant):
    torch.manual_seed(7)
    config = Wav2Vec2Config(
        vocab_size=11, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        conv_dim=[6, 8, 8, 10, 8, 8, 12], num_conv_pos_embedding_groups=4, pad_token_id=0, **variant,
    )
    model = Wav2Vec2ForCTC(config).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():  # away from the ones and zeros that hide a missing term
            parameter.add_(torch.randn_like(parameter) * (0.3 if "norm" in key or "bias" in key else 0.15))
    folder = HERE / name
    model.save_pretrained(folder)
    generation = folder / "generation_config.json"
    generation.unlink(missing_ok=True)

    samples = torch.zeros(len(LENGTHS), max(LENGTHS))
    for row, length in enumerate(LENGTHS):
        samples[row, :length] = torch.randn(length) * (0.3 + row)
    stages = {"samples": samples, "lengths": torch.tensor(LENGTHS)}
    frames = [int(model._get_feat_extract_output_lengths(torch.tensor(length))) for length in LENGTHS]
    with torch.no_grad():
        if config.feat_extract_norm == "layer":
            mask = (torch.arange(max(LENGTHS))[None] < torch.tensor(LENGTHS)[:, None]).long()
            batch = run(model, samples, mask)
            rows = [{stage: value[row] for stage, value in batch.items()} for row in range(len(LENGTHS))]
        else:
            alone = [run(model, samples[row : row + 1, :length], None) for row, length in enumerate(LENGTHS)]
            rows = [{stage: value[0] for stage, value in row.items()} for row in alone]
    for row, (values, count) in enumerate(zip(rows, frames)):
        for stage, value in values.items():
            stages[f"{stage}.{row}"] = value[:count].contiguous()
    save_file(stages, folder / "stages.safetensors", metadata={"seed": "7", "torch": torch.__version__})


for name, variant in VARIANTS.items():
    make(name, variant)
