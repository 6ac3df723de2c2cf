"""The klang binary that KLANG names: one function for each command that the suite uses."""

import dataclasses
import json
import os
import pathlib
import subprocess
import tempfile
import time

from safetensors import safe_open

FIXED = ["--device", "cpu", "--precision", "fp32"]


@dataclasses.dataclass
class Finished:
    """What a run of the binary printed, how long it took in seconds, and its peak of resident memory in bytes."""

    stdout: str
    seconds: float
    peak: int


def run(*arguments):
    """Runs klang; a failure is raised with what it said."""
    command = [os.environ["KLANG"], *map(str, arguments)]
    start = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True, encoding="utf-8")
        stdout = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        if child.returncode != 0:
            raise RuntimeError(f"`klang {' '.join(command[1:])}` ended with {child.returncode}: {said.read().strip()}")
    return Finished(stdout, seconds, usage.ru_maxrss * 1024)


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
    run("transcribe", model, *audios, "--out", out, *FIXED, *options)
    return [(pathlib.Path(out) / f"{pathlib.Path(audio).stem}.txt").read_text("utf-8").strip() for audio in audios]


def train(recipe, folder, settings):
    """Trains by a recipe with `settings` changed."""
    run("train", recipe, "--run", folder, *(f"--set={key}={value}" for key, value in settings.items()))


def export(model, folder):
    run("export", model, folder)
