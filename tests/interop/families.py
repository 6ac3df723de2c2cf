"""The families of checkpoints that klang reads, each as one small configuration of transformers'."""

import dataclasses

import transformers

# The letters of the digits' names and one more: klang then keeps a checkpoint's head when it trains on data/digits.
TOKENS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"efghinorstuvwxzé"]
# Every width differs from every other where the architecture allows it: what is swapped cannot fit. layer_norm_eps is
# far from the 1e-5 of the norms that it does not govern (convolutions, adapters, data2vec's positions).
SMALL = dict(
    vocab_size=len(TOKENS), hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
    conv_dim=[12, 14, 16, 18, 20, 22, 24], num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
    initializer_range=0.1, layer_norm_eps=1e-3, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)
BASE = dict(feat_extract_norm="group", do_stable_layer_norm=False, conv_bias=False)
LARGE = dict(feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True)
MMS_LANGUAGES = {"eng": TOKENS, "xho": ["<pad>", "<s>", "</s>", "<unk>", "|", *"abdefghiklmnopqrstuwxyz"]}


@dataclasses.dataclass
class Family:
    """A configuration, its CTC model, whether its audio is normalised, and its tokens: a list, or one a language."""

    config: transformers.PreTrainedConfig
    model: type
    normalise: bool = True
    tokens: list[str] | dict[str, list[str]] = dataclasses.field(default_factory=lambda: TOKENS)


def wav2vec2(**keys):
    return Family(transformers.Wav2Vec2Config(**SMALL | keys), transformers.Wav2Vec2ForCTC)


def hubert(**keys):
    return Family(transformers.HubertConfig(**SMALL | keys), transformers.HubertForCTC)


def wavlm(normalise, **keys):
    return Family(transformers.WavLMConfig(**SMALL | keys), transformers.WavLMForCTC, normalise)


def data2vec():
    # Five convolutions of 19 frames in the published ones; num_conv_pos_embeddings counts them here.
    keys = SMALL | dict(num_conv_pos_embeddings=3, conv_pos_kernel_size=7, conv_bias=False)
    return Family(transformers.Data2VecAudioConfig(**keys), transformers.Data2VecAudioForCTC)


def mms():
    family = wav2vec2(**LARGE, adapter_attn_dim=10)
    family.tokens = MMS_LANGUAGES
    return family


FAMILIES = {
    "wav2vec2-base": lambda: wav2vec2(**BASE),
    # With the published positional convolution and ε, which CTranslate2 has built in.
    "wav2vec2-large": lambda: wav2vec2(
        **LARGE, num_conv_pos_embeddings=128, num_conv_pos_embedding_groups=16, layer_norm_eps=1e-5
    ),
    "wav2vec2-mms": mms,
    "hubert-base": lambda: hubert(**BASE),
    "hubert-large": lambda: hubert(**LARGE),
    "hubert-batch-norm": lambda: hubert(**BASE, conv_pos_batch_norm=True),
    "hubert-no-projection-norm": lambda: hubert(**LARGE, feat_proj_layer_norm=False),
    # Few buckets, so that a short utterance reaches the logarithmic ones and the last.
    "wavlm-base": lambda: wavlm(False, **BASE, num_buckets=32, max_bucket_distance=50),
    "wavlm-large": lambda: wavlm(True, **LARGE),
    "data2vec-audio": data2vec,
}
