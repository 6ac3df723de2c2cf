"""Makes what every contender works on: models of random weights, and audio of a real corpus's lengths.

    python materials.py FOLDER

The folder gets base and large (transformers' layout, with onnx or ctranslate2 beside the weights), audio, and
sets.json: lists of {path, seconds, text} by name, paths from the folder.
"""

import importlib.metadata
import json
import pathlib
import sys

import protocol  # noqa: F401, keeps transformers off the network

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/interop"))

import numpy  # noqa: E402
import soundfile  # noqa: E402

import audio  # noqa: E402
import base_size  # noqa: E402
import checkpoints  # noqa: E402
import onnx_export  # noqa: E402
import reference  # noqa: E402

SEED = 11
RATE = protocol.RATE
DURATIONS = ROOT / "benches/durations/mboshi.txt"

# Files in a set whose lengths are evenly spaced quantiles of the corpus's.
DRAWN = {"folder": 200, "folder-quick": 24, "large": 24, "large-quick": 8, "trial": 12, "train": 78, "train-quick": 20,
         "train-trial": 6, "dev": 1}
# Sets of one file, of these seconds.
SINGLE = {"five-seconds": 5.0, "long": 600.0, "long-quick": 120.0, "long-trial": 60.0}

# Depth is what makes a large model slow and nothing else: 6 of its 24 blocks tell the same of a product's speed.
LARGE = dict(
    hidden_size=1024, num_hidden_layers=6, num_attention_heads=16, intermediate_size=4096, conv_bias=True,
    feat_extract_norm="layer", do_stable_layer_norm=True,
)
# What learns alike on both sides: no random masks, no random dropping of neurons or blocks.
STILL = dict(
    hidden_dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, feat_proj_dropout=0.0, final_dropout=0.0,
    layerdrop=0.0, mask_time_prob=0.0, mask_feature_prob=0.0,
)


class Recordings:
    """Recordings of data/digits in an order of their own, one after another without end."""

    def __init__(self, seed):
        lines = audio.utterances("train.jsonl", None)
        self.lines = [lines[index] for index in numpy.random.default_rng(seed).permutation(len(lines))]
        self.next = 0

    def cut(self, seconds):
        """Samples of that length, and the words that are in them as a whole."""
        wanted, parts, words = round(seconds * RATE), [], []
        while wanted > 0:
            line = self.lines[self.next % len(self.lines)]
            self.next += 1
            samples = audio.read(line["audio"])
            kept = samples[:wanted]
            text = line["text"].split()
            words += text[: len(text) * len(kept) // len(samples)]
            parts.append(kept)
            wanted -= len(kept)
        return numpy.concatenate(parts), " ".join(words) or "one"


def write_audio(folder):
    durations = numpy.loadtxt(DURATIONS)
    wanted = {
        name: numpy.random.default_rng(SEED).permutation(numpy.quantile(durations, (numpy.arange(n) + 0.5) / n))
        for name, n in DRAWN.items()
    }
    wanted |= {name: [seconds] for name, seconds in SINGLE.items()}
    sets = {}
    for number, (name, lengths) in enumerate(wanted.items()):
        recordings = Recordings(SEED + number)
        (folder / "audio" / name).mkdir(parents=True)
        sets[name] = []
        for index, seconds in enumerate(lengths):
            path = f"audio/{name}/{index:03}.wav"
            samples, text = recordings.cut(seconds)
            soundfile.write(folder / path, samples, RATE, subtype="PCM_16")
            sets[name].append(dict(path=path, seconds=len(samples) / RATE, text=text))
    return sets


def write_model(folder, utterance, **keys):
    """Random weights, with something to say: see checkpoints.settle."""
    model = base_size.write(folder, **STILL, **keys).eval()
    normalised_by_layer = keys.get("feat_extract_norm") == "layer"
    checkpoints.write_preprocessor(folder, normalise=True, attention_mask=normalised_by_layer)
    checkpoints.settle(model, reference.samples(folder, utterance))
    model.save_pretrained(folder)
    return model


def write_onnx(model, folder):
    """fp32, and int8 as ONNX Runtime's guide has it for transformers: matrix products alone, scales found as it runs."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    folder.mkdir()
    onnx_export.write(model, folder / "fp32.onnx")
    quantize_dynamic(
        folder / "fp32.onnx", folder / "int8.onnx", weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"],
    )


def write_ctranslate2(folder):
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(folder)).convert(str(folder / "ctranslate2"))


def main(folder):
    sets = write_audio(folder)
    utterance = folder / sets["five-seconds"][0]["path"]
    print("a Base-size model, and its ONNX in fp32 and int8", file=sys.stderr)
    base = write_model(folder / "base", utterance)
    write_onnx(base, folder / "base/onnx")
    print("a model in the layout of Large, and CTranslate2's of it", file=sys.stderr)
    write_model(folder / "large", utterance, **LARGE)
    write_ctranslate2(folder / "large")
    checkpoints.write_json(folder / "sets.json", sets)
    names = ["transformers", "torch", "onnx", "onnxscript", "onnxruntime", "ctranslate2", "numpy"]
    checkpoints.write_json(folder / "made-with.json", dict(
        seed=SEED, versions={name: importlib.metadata.version(name) for name in names},
    ))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
