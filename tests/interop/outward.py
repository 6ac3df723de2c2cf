"""klang's runs in transformers: trained here for a few updates, exported, opened there."""

import json

import torch
from transformers import AutoModelForCTC, Wav2Vec2ForPreTraining, Wav2Vec2Processor

import audio
import checkpoints
import klang
import reference
import report

RECIPE = audio.ROOT / "tests/interop/recipe.yaml"
# klang computes KL-Norm as it is trained, transformers the LayerNorm that it folds into: the same products in another
# order, of models about as small as inward.py's. After two updates at 5e-4 a fold that forgets w is off by 6e-3.
BOUND = 1e-5
ENCODER_STAGES = ["features", "projected", "hidden"]
DIGITS, PEOPLE = 12, 6  # files whose text is compared
# From random weights letters take some updates, and an even alignment, to come out of the blank.
FROM_RANDOM = {
    "model.init": "random", "train.updates": 20, "train.flat_start_updates": 400, "train.learning_rate": "3.0e-3",
}


def families(work, models):
    """Runs from random weights, with characters and with words, and one from each checkpoint, exported; returns (run, folder) by name."""
    report.section("klang's runs in transformers")
    if not audio.real_speech(1):
        report.note("skipped: people's recordings, which need the real-speech corpora beside the repository")
    corpus(work)
    # Whose labels are words with the space before them.
    words = FROM_RANDOM | {"text.units": "words", "train.updates": 60}
    starts = {"random": FROM_RANDOM, "words": words} | {name: {"model.init": work / name} for name in models}
    exported = {}
    for name, settings in starts.items():
        with report.case(f"{name}, exported"):
            run, folder = work / f"run-{name}", work / f"export-{name}"
            klang.train(work / RECIPE.name, run, settings)
            klang.export(run, folder)
            exported[name] = run, folder
            compare(name, run, folder)
    return exported


def corpus(work):
    """The recipe and its manifests: a few digit strings of two voices."""
    (work / RECIPE.name).write_text(RECIPE.read_text("utf-8"), "utf-8")
    audio.write_manifest(work / "train.jsonl", audio.utterances("train.jsonl", 16))
    audio.write_manifest(work / "dev.jsonl", audio.utterances("dev.jsonl", 3))


def compare(name, run, folder):
    """What transformers makes of an exported folder, and klang of its run."""
    model, processor = opened(name, folder)
    kind = json.loads((run / "best/config.json").read_text("utf-8")).get("klang_norm", {}).get("kind")
    report.equal(f"{name}, norm of the run", "kl_norm", kind)

    paths = audio.recordings(DIGITS) + audio.real_speech(PEOPLE)
    texts = klang.transcribe(run, paths, run / "texts")
    worst = 0.0
    for number, (path, text) in enumerate(zip(paths, texts)):
        expected = reference.stages(model, reference.samples(folder, path))["logits"]
        report.equal(f"{name}, text of {path.name}", reference.text(processor, expected), text)
        if number < 3:
            got, vocabulary = klang.logits(run, path, run / "logits.safetensors")
            worst = max(worst, reference.relative_error(got["logits"], expected))
    tokens = processor.tokenizer.convert_ids_to_tokens(range(len(processor.tokenizer)))
    report.equal(f"{name}, tokens", vocabulary, tokens)
    report.check(f"{name}, texts", len(set(texts)) > 1, "texts that differ from file to file", texts)
    report.compared(f"{name}, exported", {"logits": worst}, BOUND)


def loaded(name, kind, folder, unexpected=()):
    """The model of a folder, which must hold the weights that it needs and, but for the `unexpected`, nothing else."""
    model, info = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    for keys in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        wanted = sorted(unexpected) if keys == "unexpected_keys" else []
        report.equal(f"{name}, {keys}", wanted, sorted(info.get(keys) or []))
    return model.eval()


def opened(name, folder):
    """The model and processor of a folder, which must hold what they need and nothing else."""
    model = loaded(name, AutoModelForCTC, folder)
    processor = Wav2Vec2Processor.from_pretrained(folder)
    sizes = [len(processor.tokenizer), model.config.vocab_size, model.lm_head.out_features]
    report.check(f"{name}, vocabulary", len(set(sizes)) == 1, "tokens = vocab_size = outputs", sizes)
    return model, processor


def headless(work, model):
    """Checkpoints without a CTC head, which klang gives one: a bare encoder, and one as pretraining left it."""
    report.section("checkpoints without a head")
    encoder = model.wav2vec2
    torch.manual_seed(13)
    pretraining = Wav2Vec2ForPreTraining(model.config)
    pretraining.wav2vec2.load_state_dict(encoder.state_dict())
    for name, checkpoint in {"bare": encoder, "pretraining": pretraining}.items():
        with report.case(name):
            folder = work / f"checkpoint-{name}"
            checkpoint.save_pretrained(folder)
            checkpoints.write_preprocessor(folder, normalise=True, attention_mask=True)
            same_encoder(name, work, folder, encoder)


def same_encoder(name, work, start, encoder):
    """That klang trains from `start`, and its encoder computes what transformers' does.

    One update at a learning rate that moves no weight by more than 1e-9 leaves the encoder that transformers has.
    """
    path, run, folder = audio.recordings(1)[0], work / f"run-{name}", work / f"export-{name}"
    settings = {"model.init": start, "train.updates": 1, "train.learning_rate": "1.0e-9"}
    klang.train(work / RECIPE.name, run, settings)
    got, _ = klang.logits(run, path, run / "stages.safetensors", "--stages")
    klang.export(run, folder)
    opened(name, folder)
    expected = reference.stages(encoder, reference.samples(folder, path))
    errors = {stage: reference.relative_error(got[stage], expected[stage]) for stage in ENCODER_STAGES}
    report.compared(name, errors, BOUND)
