#!/usr/bin/env python3
"""Forced alignments by torchaudio, for crates/ctc/tests/forced_align.rs.

    pip install --no-deps torch==2.11.0 torchaudio==2.11.0    # torch as `cargo xtask setup` has it will do
    python3 crates/ctc/tests/golden/forced_align.py > crates/ctc/tests/golden/forced_align.json

torchaudio takes ln of probabilities in fp32, refuses the blank among the labels, and gives a label for every frame and its
ln of probability there. Seeds are below.
"""

import json
import sys

import torch
import torchaudio

CASES = [  # seed, frames, vocabulary, labels, blank
    (1, 12, 5, [1, 2, 3], 0),
    (2, 9, 4, [1, 1, 2, 2], 0),
    (3, 7, 4, [3, 3, 3, 0], 1),
    (4, 60, 32, [5, 9, 9, 2, 30, 31, 4, 4, 4, 7, 5, 5], 0),
    (5, 200, 40, [1 + 7 * place % 39 for place in range(70)], 0),
    (6, 5, 3, [1, 2, 1, 2, 1], 0),
]


def main():
    cases = []
    for seed, frames, vocabulary, labels, blank in CASES:
        generator = torch.Generator().manual_seed(seed)
        # Multiples of an eighth, which the file holds exactly.
        logits = (32 * torch.randn(frames, vocabulary, generator=generator)).round() / 8
        values = torch.log_softmax(logits, -1)
        path, scores = torchaudio.functional.forced_align(values[None], torch.tensor([labels], dtype=torch.int32), blank=blank)
        cases.append(
            {
                "seed": seed,
                "vocabulary": vocabulary,
                "labels": labels,
                "blank": blank,
                "logits": logits.flatten().tolist(),
                "path": path[0].tolist(),
                "score": scores[0].double().sum().item(),
            }
        )
    versions = {"torch": torch.__version__, "torchaudio": torchaudio.__version__, "python": sys.version.split()[0]}
    print(json.dumps({"versions": versions, "cases": cases}))


if __name__ == "__main__":
    main()
