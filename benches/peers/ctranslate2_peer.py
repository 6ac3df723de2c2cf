"""CTranslate2 on the model that materials.py converted. It has no mask, so that padding is seen as silence."""

import pathlib

import numpy

import protocol
import recognition

TYPES = {"fp32": "float32", "int8": "int8"}


def prepare(job):
    import ctranslate2

    model = ctranslate2.models.Wav2Vec2(
        str(pathlib.Path(job["model"]) / "ctranslate2"), device="cpu", compute_type=TYPES[job["setting"]["precision"]],
        intra_threads=job["threads"], inter_threads=1,
    )

    def logits(samples, lengths):
        values = ctranslate2.StorageView.from_array(samples[:, None])  # (batch, 1, sample)
        return numpy.array(model.encode(values, to_cpu=True))

    return recognition.Recogniser(job, logits)


if __name__ == "__main__":
    protocol.serve(["ctranslate2", "numpy", "soundfile"], prepare)
