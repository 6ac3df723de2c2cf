"""One model in the ways in which its weights are found on disk."""

import shutil

import torch
from safetensors.torch import load_file, save_file

import checkpoints

# Weight norm's names before torch 2.0, which most published checkpoints have.
OLD_NAMES = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}


def old_names(weights):
    def old(name):
        for new, was in OLD_NAMES.items():
            name = name.replace(new, was)
        return name

    return {old(name): value for name, value in weights.items()}


def sharded_bin(weights, folder):
    """pytorch_model-0000N-of-00002.bin with their index, as transformers wrote before safetensors."""
    names, index = sorted(weights), {}
    for number, part in enumerate([names[::2], names[1::2]], start=1):
        file = f"pytorch_model-{number:05}-of-00002.bin"
        torch.save({name: weights[name] for name in part}, folder / file)
        index |= dict.fromkeys(part, file)
    size = sum(value.numel() * value.element_size() for value in weights.values())
    checkpoints.write_json(
        folder / "pytorch_model.bin.index.json", {"metadata": {"total_size": size}, "weight_map": index}
    )


def save_as(dtype):
    return lambda model, weights, folder: model.to(dtype).save_pretrained(folder)


# Each writes the weights of a model (which may change) into a folder that holds the rest.
LAYOUTS = {
    "sharded-safetensors": lambda model, weights, folder: model.save_pretrained(folder, max_shard_size="40KB"),
    "bin-zip": lambda model, weights, folder: torch.save(weights, folder / "pytorch_model.bin"),
    "bin-legacy": lambda model, weights, folder: torch.save(
        weights, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False
    ),
    "bin-sharded": lambda model, weights, folder: sharded_bin(weights, folder),
    "bin-old-names": lambda model, weights, folder: torch.save(old_names(weights), folder / "pytorch_model.bin"),
    "old-names": lambda model, weights, folder: save_file(
        old_names(weights), folder / "model.safetensors", metadata={"format": "pt"}
    ),
    "fp16": save_as(torch.float16),
    "bf16": save_as(torch.bfloat16),
}


def holds(file, part):
    """A mark of a layout: that a file of it is there and holds a text, such as a name or a type in a header."""
    return lambda folder: any(part in path.read_bytes() for path in folder.glob(file))


# What tells each from the others, whatever the libraries that write them do one day.
MARKS = {
    "sharded-safetensors": holds("model.safetensors.index.json", b"-of-"),
    "bin-zip": holds("pytorch_model.bin", b"PK"),
    "bin-legacy": lambda folder: (folder / "pytorch_model.bin").read_bytes()[:1] == b"\x80",
    "bin-sharded": holds("pytorch_model.bin.index.json", b"-of-"),
    "bin-old-names": holds("pytorch_model.bin", b"weight_g"),
    "old-names": holds("model.safetensors", b"weight_g"),
    "fp16": holds("model.safetensors", b'"F16"'),
    "bf16": holds("model.safetensors", b'"BF16"'),
}


def write(layout, model, original, folder):
    """Writes `model`, whose folder is `original`, into `folder` in a layout."""
    weights = load_file(original / "model.safetensors")
    shutil.copytree(original, folder)
    (folder / "model.safetensors").unlink()
    LAYOUTS[layout](model, weights, folder)
    mark = MARKS[layout]
    if not mark(folder):
        raise RuntimeError(f"{folder} is not of the layout {layout}: {sorted(path.name for path in folder.iterdir())}")
