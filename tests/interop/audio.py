"""Speech for the comparisons: seeded sounds made here, and recordings of the repository and beside it."""

import json
import math
import pathlib
import wave

import numpy
import soundfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIGITS = ROOT / "data/digits"
BESIDE = ROOT.parent / "shared/speech"
RATE = 16_000  # Hz, of every model here


def sound(path, seconds, seed):
    """Writes a 16-bit WAV of syllables: tones and hiss under a moving envelope, so that no two frames are alike."""
    draw = numpy.random.default_rng(seed)
    time = numpy.arange(round(seconds * RATE)) / RATE
    value = numpy.zeros_like(time)
    for _ in range(5):
        pitch, wobble, phase = draw.uniform(100, 3000), draw.uniform(1, 4), draw.uniform(0, math.tau)
        value += numpy.sin(math.tau * pitch * time + 8 * numpy.sin(wobble * time + phase)) / 5
    value += 0.1 * draw.standard_normal(len(time))
    value *= 0.1 + 0.5 * numpy.sin(math.tau * 1.7 * time) ** 2
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((value.clip(-1, 1) * 32767).astype("<i2").tobytes())
    return path


def read(path):
    """A mono file at the models' rate as fp32 samples in [-1, 1]."""
    samples, rate = soundfile.read(path, dtype="float32")
    if rate != RATE or samples.ndim != 1:
        raise ValueError(f"{path}: {rate} Hz, {samples.ndim} axes; expected {RATE} Hz, mono")
    return samples


def utterances(manifest, count):
    """The first `count` of a manifest of data/digits, with absolute paths."""
    lines = [json.loads(line) for line in (DIGITS / manifest).read_text("utf-8").splitlines()[:count]]
    return [line | {"audio": str(DIGITS / line["audio"])} for line in lines]


def write_manifest(path, lines):
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
    return path


def recordings(count):
    """Paths of digits that no training here has seen."""
    return [pathlib.Path(line["audio"]) for line in utterances("test.jsonl", count)]


def real_speech(count):
    """Paths of people's recordings beside the repository, at the models' rate; none where that folder is absent."""
    found = (path for path in sorted(BESIDE.glob("*/*/*")) if path.suffix in (".flac", ".wav"))
    fitting = (path for path in found if soundfile.info(path).samplerate == RATE)
    return [path for path, _ in zip(fitting, range(count))]
