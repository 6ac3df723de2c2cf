"""A plain PyTorch loop over transformers' Wav2Vec2ForCTC: what someone would write who knows both well.

Frozen convolutions, scaled_dot_product_attention, fused AdamW, batches of equal seconds of like length. All audio is read
before the clock starts. A group-normed model gets no attention mask, as its preprocessor has it, so that padding is seen.
"""

import json
import pathlib
import time

import numpy

import protocol
import recognition


def batches(utterances, seconds, draw):
    """Rows of like length with a tenth of jitter, filled to so many seconds with padding, shuffled."""
    jitter = draw.uniform(0.9, 1.1, len(utterances))
    ranked = sorted(range(len(utterances)), key=lambda index: utterances[index]["seconds"] * jitter[index])
    filled, longest = [[]], 0.0
    for index in ranked:
        longest = max(longest, utterances[index]["seconds"])
        if filled[-1] and longest * (len(filled[-1]) + 1) > seconds:
            filled.append([])
            longest = utterances[index]["seconds"]
        filled[-1].append(index)
    return [filled[index] for index in draw.permutation(len(filled))]


class Trainer:
    def __init__(self, job):
        import torch
        from transformers import Wav2Vec2ForCTC

        torch.set_num_threads(job["threads"])
        self.torch, self.recipe, self.device = torch, job["training"], job["device"]
        self.bf16 = job["setting"]["precision"] == "bf16"
        self.vocabulary = json.loads((pathlib.Path(job["model"]) / "vocab.json").read_text("utf-8"))
        self.model = Wav2Vec2ForCTC.from_pretrained(
            job["model"], dtype=torch.float32, attn_implementation="sdpa", ctc_loss_reduction="sum",
            ctc_zero_infinity=True,
        ).train().to(self.device)
        self.model.freeze_feature_encoder()
        # What the warm-up learns is undone: both sides start from the same weights.
        self.start = {name: value.clone() for name, value in self.model.state_dict().items()}
        # Read once, before the clock starts.
        everything = job["warm_up"] + job["utterances"]
        self.samples = {u["path"]: recognition.normalise(recognition.read(u["path"])) for u in everything}

    def optimiser(self):
        learnt = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        groups = [
            dict(params=[p for p in learnt if p.ndim > 1], weight_decay=self.recipe["weight_decay"]),
            dict(params=[p for p in learnt if p.ndim <= 1], weight_decay=0.0),
        ]
        return self.torch.optim.AdamW(
            groups, lr=self.recipe["learning_rate"], betas=self.recipe["betas"], eps=self.recipe["epsilon"], fused=True,
        )

    def collate(self, rows):
        torch = self.torch
        rate = protocol.RATE
        samples = [torch.from_numpy(self.samples[row["path"]]) for row in rows]
        labels = [torch.tensor([self.vocabulary[c] for c in row["text"].replace(" ", "|")]) for row in rows]
        padded = torch.nn.utils.rnn.pad_sequence(samples, batch_first=True).to(self.device)
        real = sum(map(len, samples)) / rate
        return dict(
            input_values=padded,
            labels=torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100).to(self.device),
        ), sum(map(len, labels)), real, padded.numel() / rate

    def update(self, rows, optimiser):
        torch = self.torch
        batch, labels, real, padded = self.collate(rows)
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.bf16):
            loss = self.model(**batch).loss / labels
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe["clip"])
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss.detach(), real, padded  # the loss stays where it is: to read it is to wait for the GPU

    def __call__(self, utterances):
        self.model.load_state_dict(self.start)
        optimiser, epochs = self.optimiser(), []
        for epoch in range(self.recipe["epochs"]):
            started = time.perf_counter()
            plan = batches(utterances, self.recipe["batch_seconds"], numpy.random.default_rng(epoch))
            done = [self.update([utterances[index] for index in rows], optimiser) for rows in plan]
            losses, real, padded = zip(*done)
            losses = [float(loss) for loss in losses]
            epochs.append(dict(
                seconds=time.perf_counter() - started, audio_seconds=sum(real), updates=len(losses),
                padding=1 - sum(real) / sum(padded), loss=sum(losses) / len(losses), last_loss=losses[-1],
            ))
        return {"epochs": epochs}


if __name__ == "__main__":
    protocol.serve(["transformers", "torch", "numpy", "soundfile"], Trainer)
