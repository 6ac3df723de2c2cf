"""transformers' checkpoints in klang: every family and every layout, stage by stage, on one utterance alone."""

import copy

from transformers import Wav2Vec2Processor

import audio
import checkpoints
import klang
import layouts
import reference
import report
from families import FAMILIES

# fp32 rounds to 6e-8. A stage sums some hundred products (error growing as the root of their number) and three blocks
# follow one another: measured 5e-7 to 3.5e-6. The least that a mistake was seen to move the hidden states:
# ten times the ε 7e-5, WavLM's farthest position counted to 790 instead of 800 2.7e-3, an adapter's bias left out 5e-2.
BOUND = 1e-5
STAGES = ["features", "projected", "hidden", "logits"]


def families(work, names, compare_them):
    """Writes each family's checkpoint to work/NAME, and compares if asked; returns the models by name."""
    report.section("transformers' families in klang" if compare_them else "checkpoints")
    utterance = audio.sound(work / "utterance.wav", 2.9, seed=3)
    models = {}
    for name in names:
        with report.case(name):
            family, folder = FAMILIES[name](), work / name
            models[name] = checkpoints.write(family, folder, utterance)
            if not compare_them:
                continue
            if isinstance(family.tokens, dict):
                for language in family.tokens:
                    compare(f"{name} {language}", folder, utterance, language)
                refuse_language(name, folder, utterance)
            else:
                compare(name, folder, utterance)
    return models


def compare(name, folder, utterance, language=None, model=None):
    """klang's stages, vocabulary and text against transformers', of a folder and an utterance."""
    options = ["--language", language] if language else []
    got, vocabulary = klang.logits(folder, utterance, folder / "stages.safetensors", "--stages", *options)
    model = model or reference.open_model(folder, language)
    expected = reference.stages(model, reference.samples(folder, utterance))
    report.compared(name, {stage: reference.relative_error(got[stage], expected[stage]) for stage in STAGES}, BOUND)

    processor = Wav2Vec2Processor.from_pretrained(folder, **({"target_lang": language} if language else {}))
    tokens = processor.tokenizer.convert_ids_to_tokens(range(len(processor.tokenizer)))
    report.equal(f"{name}, vocabulary", tokens, vocabulary)
    [text] = klang.transcribe(folder, [utterance], folder / "texts", *options)
    report.equal(f"{name}, text", reference.text(processor, expected["logits"]), text)
    report.check(f"{name}, text", len(set(text)) > 2, "several letters to compare", repr(text))


def refuse_language(name, folder, utterance):
    try:
        klang.run("logits", folder, utterance, "--out", folder / "no.safetensors", "--language", "zzz")
    except RuntimeError as error:
        report.check(f"{name}, unknown language", "zzz" in str(error), "a message that names it", str(error))
    else:
        report.check(f"{name}, unknown language", False, "to be refused", "logits")


def all_layouts(work, model):
    """The layouts of the model of work/wav2vec2-base."""
    report.section("layouts of the weights")
    original, utterance = work / "wav2vec2-base", work / "utterance.wav"
    for layout in layouts.LAYOUTS:
        with report.case(layout):
            folder = work / f"layout-{layout}"
            layouts.write(layout, copy.deepcopy(model), original, folder)
            # transformers rounds no more than the file: it computes in fp32 from the same fp16 or bf16 weights.
            compare(layout, folder, utterance)
