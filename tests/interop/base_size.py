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


def write(folder, **keys):
    torch.manual_seed(11)
    model = transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(vocab_size=len(LETTERS), **keys))
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

    What libtorch and the binary themselves take, 130 to 170 MiB, is measured with a model of some thousand weights. Above
    that stand the weights once, 360 MiB, and some 40 MiB of activations, pages and pieces on their way: 1.1 times the
    weights. Weights that are held twice, or a file whose pages all stay mapped beside them, make it more than 2.
    """
    options = [*klang.FIXED, "--threads", "2"]
    small = work / "small"
    write(small, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=[8] * 7)

    def least(model):
        """Of several runs the least: what else the machine does can only add."""
        command = ["logits", model, path, "--out", work / "first.safetensors", *options]
        seconds, peaks = zip(*(klang.measured(*command) for _ in range(3)))
        return min(seconds), min(peaks)

    (_, bare), (seconds, peak) = least(small), least(folder)
    weights, mib = (folder / "model.safetensors").stat().st_size, 1 << 20
    report.note(
        f"first logits of 1 s: {seconds:.2f} s; peak {peak / mib:.0f} MiB, {peak / weights:.2f} times the weights' "
        f"{weights / mib:.0f} MiB; {bare / mib:.0f} MiB of it without them"
    )
    above = (peak - bare) / weights
    report.check("memory above a small model's", above <= 1.25, "at most 1.25 times the weights", f"{above:.2f}")
