"""The klang binary that KLANG names: one function for each command that the suite uses."""

import json
import os
import pathlib
import subprocess
import sys

from safetensors import safe_open

# Another device sums in another order: its figures are to be read beside the bounds, which are the CPU's.
FIXED = ["--device", os.environ.get("KLANG_DEVICE", "cpu"), "--precision", "fp32"]

MEASURE = pathlib.Path(__file__).parent / "measure.py"


def run(*arguments):
    """What klang prints; a failure is raised with what it said."""
    return started([os.environ["KLANG"], *map(str, arguments)]).stdout


def measured(*arguments):
    """The seconds that klang took, from its start, and its peak of resident memory in bytes."""
    seconds, peak = started([sys.executable, MEASURE, os.environ["KLANG"], *map(str, arguments)]).stdout.split()[-2:]
    return float(seconds), int(peak)


def started(command):
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if done.returncode != 0:
        raise RuntimeError(f"`{' '.join(map(str, command))}` ended with {done.returncode}: {done.stderr.strip()}")
    return done


def tensors(path):
    """A safetensors file: arrays by name, and its metadata."""
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}


def logits(model, audio, out, *options):
    """The stages that `klang logits` writes for one file, by name, and the vocabulary."""
    run("logits", model, audio, "--out", out, *FIXED, *options)
    stages, metadata = tensors(out)
    return stages, json.loads(metadata["vocabulary"])


def batched_logits(model, audios, folder, *options):
    """The same for several files that klang computes as one padded batch; a list in their order."""
    run("logits", model, *audios, "--out", folder, *FIXED, *options)
    return [tensors(pathlib.Path(folder) / f"{pathlib.Path(audio).stem}.safetensors")[0] for audio in audios]


def transcribe(model, audios, out, *options):
    """The texts that `klang transcribe` reads, in the order of the files."""
    run("transcribe", model, *audios, "--out", out, "--overwrite", *FIXED, *options)
    return [(pathlib.Path(out) / f"{pathlib.Path(audio).stem}.txt").read_text("utf-8").strip() for audio in audios]


def train(recipe, folder, settings):
    """Trains by a recipe with `settings` changed."""
    learn("train", recipe, folder, settings)


def pretrain(recipe, folder, settings):
    """Pretrains by a recipe with `settings` changed; returns what klang said on the way."""
    return learn("pretrain", recipe, folder, settings)


def learn(command, recipe, folder, settings):
    changed = [f"--set={key}={value}" for key, value in settings.items()]
    return started([os.environ["KLANG"], command, recipe, "--run", folder, *changed]).stderr


def export(model, folder):
    run("export", model, folder)
