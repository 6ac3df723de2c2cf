"""What the peers that transcribe share: samples, batches, greedy text. A peer adds `logits(batch)`, no more."""

import json
import pathlib

import numpy
import soundfile

from protocol import RATE

# Also of the tokenizer, none of them text.
SPECIAL = {"<pad>", "<s>", "</s>", "<unk>"}


def read(path):
    """A mono file at the models' rate as fp32 samples, normalised as their preprocessor does it."""
    samples, rate = soundfile.read(path, dtype="float32")
    if rate != RATE or samples.ndim != 1:
        raise ValueError(f"{path}: {rate} Hz, {samples.ndim} axes; expected {RATE} Hz, mono")
    return samples


def normalise(samples):
    return (samples - samples.mean()) / numpy.sqrt(samples.var() + 1e-7)


def frames(samples):
    """Frames that the seven convolutions of wav2vec 2.0 make of so many samples."""
    for kernel, stride in [(10, 5), (3, 2), (3, 2), (3, 2), (3, 2), (2, 2), (2, 2)]:
        samples = (samples - kernel) // stride + 1
    return samples


class Recogniser:
    """`logits` takes padded samples (batch, sample) and their lengths, and returns (batch, frame, token)."""

    def __init__(self, job, logits):
        vocabulary = json.loads((pathlib.Path(job["model"]) / "vocab.json").read_text("utf-8"))
        self.tokens = {index: token for token, index in vocabulary.items()}
        self.setting = job["setting"]
        self.logits = logits

    def __call__(self, utterances):
        pieces, owner = [], []
        for number, utterance in enumerate(utterances):
            for piece in self.pieces(read(utterance["path"])):
                pieces.append(normalise(piece))
                owner.append(number)
        order = list(range(len(pieces)))
        if self.setting["order"] == "length":
            order.sort(key=lambda index: len(pieces[index]))
        texts = [""] * len(pieces)
        for start in range(0, len(order), self.setting["batch"]):
            rows = order[start : start + self.setting["batch"]]
            for index, text in zip(rows, self.batch([pieces[index] for index in rows])):
                texts[index] = text
        joined = [[] for _ in utterances]
        for number, text in zip(owner, texts):
            joined[number].append(text)
        return {"texts": [" ".join(filter(None, parts)) for parts in joined]}

    def pieces(self, samples):
        size = self.setting["chunk_seconds"]
        if not size:
            return [samples]
        cut = [samples[start : start + size * RATE] for start in range(0, len(samples), size * RATE)]
        return [piece for piece in cut if len(piece) >= 400]  # one frame at least

    def batch(self, rows):
        lengths = [len(row) for row in rows]
        padded = numpy.zeros((len(rows), max(lengths)), dtype=numpy.float32)
        for row, samples in zip(padded, rows):
            row[: len(samples)] = samples
        logits = self.logits(padded, lengths)
        return [self.text(row[: frames(length)].argmax(-1)) for row, length in zip(logits, lengths)]

    def text(self, best):
        """Repeats merged, blanks and other tokens that are no text dropped."""
        merged = best[numpy.concatenate([[True], best[1:] != best[:-1]])]
        tokens = (self.tokens[int(index)] for index in merged)
        letters = ("" if token in SPECIAL else " " if token == "|" else token for token in tokens)
        return " ".join("".join(letters).split())
