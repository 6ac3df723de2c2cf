"""Other tools on an exported folder: transformers' pipeline, ONNX Runtime, CTranslate2."""

import ctranslate2
import numpy
import onnxruntime
import transformers
from ctranslate2.converters import TransformersConverter
from transformers import AutoModelForCTC

import audio
import klang
import onnx_export
import reference
import report

# Kernels of their own, fused and ordered otherwise: 1e-6 as in inward.py. ONNX Runtime's group norm sums the 10,000
# frames of the first convolution plainly, which adds the root of their number times 6e-8 = 6e-6: measured 5e-6.
BOUND = 2e-5


def compare(work, exported):
    report.section("other tools")
    if "random" in exported:
        run, folder = exported["random"]
        with report.case("pipeline"):
            pipeline(run, folder)
    # Both orders of blocks and both feature encoders.
    for name in ("random", "wav2vec2-base"):
        if name in exported:
            with report.case(f"ONNX of {name}"):
                onnx(name, *exported[name], work)
    if "wav2vec2-large" in exported:
        with report.case("CTranslate2"):
            ctranslate(*exported["wav2vec2-large"], work)


def pipeline(run, folder):
    paths = audio.recordings(4)
    recognise = transformers.pipeline("automatic-speech-recognition", model=str(folder), device="cpu")
    texts = klang.transcribe(run, paths, folder / "texts")
    for path, text in zip(paths, texts):
        # Samples, as the pipeline reads files through ffmpeg alone.
        found = recognise({"raw": audio.read(path), "sampling_rate": audio.RATE})["text"]
        report.equal(f"pipeline, {path.name}", text, " ".join(found.replace("<unk>", "").split()))
    report.check("pipeline", len(set(texts)) > 1, "texts that differ from file to file", texts)
    report.note(f"pipeline: {len(paths)} files, for instance {texts[0]!r}")


def klang_logits(run, folder, path):
    stages, _ = klang.logits(run, path, folder / "klang.safetensors")
    return stages["logits"]


def onnx(name, run, folder, work):
    model = AutoModelForCTC.from_pretrained(folder).eval()
    path = work / f"{name}.onnx"
    onnx_export.write(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    errors = {}
    for recording in audio.recordings(3):
        samples = reference.samples(folder, recording).numpy()
        [logits] = session.run(["logits"], {"samples": samples})
        errors[recording.stem] = reference.relative_error(logits[0], klang_logits(run, folder, recording))
    report.compared(f"ONNX of {name}", errors, BOUND)


def ctranslate(run, folder, work):
    """CTranslate2 has only layer-normed convolutions, pre-norm blocks, strides 5 and 2, 128 positions in 16 groups."""
    converted = work / "ctranslate2"
    TransformersConverter(str(folder)).convert(str(converted))
    model = ctranslate2.models.Wav2Vec2(str(converted), device="cpu", compute_type="float32", intra_threads=1)
    errors = {}
    for recording in audio.recordings(3):
        samples = reference.samples(folder, recording)[:, None].numpy()  # (batch, 1, sample)
        logits = numpy.array(model.encode(ctranslate2.StorageView.from_array(samples), to_cpu=True))
        errors[recording.stem] = reference.relative_error(logits[0], klang_logits(run, folder, recording))
    report.compared("CTranslate2", errors, BOUND)
