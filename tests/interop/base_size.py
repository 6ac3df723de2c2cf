"""wav2vec 2.0 Base at its real size: 10 seconds alone, a padded batch, and what the first logits cost."""

import torch
import transformers

import audio
import checkpoints
import klang
import reference
import report

# As in inward.py, with twelve blocks and sums of up to 3072 products: measured 1e-6.
BOUND = 2e-5
SECONDS = {"long": 10.0, "middle": 6.3, "short": 1.0}  # lengths that really differ
LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *map(chr, range(ord("a"), ord("z") + 1)), "'"]


def write(folder):
    torch.manual_seed(11)
    model = transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(vocab_size=len(LETTERS)))
    checkpoints.perturb(model, weights=0.0, norms=0.1)
    model.save_pretrained(folder)
    checkpoints.write_tokenizer(folder, LETTERS)
    checkpoints.write_preprocessor(folder, normalise=True, attention_mask=False)
    return model


def compare(work):
    report.section("wav2vec 2.0 Base, 94 million weights")
    with report.case("base size"):
        folder = work / "base-size"
        model = write(folder)
        paths = [audio.sound(work / f"{name}.wav", seconds, seed=5) for name, seconds in SECONDS.items()]
        # transformers counts padding in the group norm's statistics: its truth is each utterance alone.
        expected = [reference.stages(model, reference.samples(folder, path))["logits"] for path in paths]
        alone, _ = klang.logits(folder, paths[0], folder / "alone.safetensors")
        report.compared("alone, 10 s", {"logits": reference.relative_error(alone["logits"], expected[0])}, BOUND)
        with report.case("padded batch"):
            batch = klang.batched_logits(folder, paths, folder / "batch")
            errors = {
                path.stem: reference.relative_error(stages["logits"], truth)
                for path, stages, truth in zip(paths, batch, expected)
            }
            report.compared("in one padded batch", errors, BOUND)
        with report.case("first logits"):
            first_logits(work, folder, paths[2])


def first_logits(work, folder, path):
    """Time and memory from the start of the process to the logits of one second, the weights in the file cache.

    libtorch with a small model takes about 150 MiB, the weights 360 once, and the widest activations of one second with
    what a convolution makes of its weights some 20: 530 MiB, 1.47 times the weights. Weights that are held twice, or a
    file whose pages all stay mapped beside them, make it 2.4 times.
    """
    options = [*klang.FIXED, "--threads", "2"]
    runs = [klang.measured("logits", folder, path, "--out", work / "first.safetensors", *options) for _ in range(3)]
    weights = (folder / "model.safetensors").stat().st_size
    seconds, peak = min(seconds for seconds, _ in runs), max(peak for _, peak in runs)
    mib = 1 << 20
    report.note(
        f"first logits of 1 s: {seconds:.2f} s; peak {peak / mib:.0f} MiB, "
        f"{peak / weights:.2f} times the weights' {weights / mib:.0f} MiB"
    )
    report.check("peak of memory", peak <= 1.5 * weights, "at most 1.5 times the weights", f"{peak / weights:.2f}")
