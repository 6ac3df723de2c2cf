"""Error counts of jiwer 4 on random corpora, for tests/jiwer.rs.

    pip install jiwer==4.0.0 rapidfuzz==3.14.6
    python jiwer.py > jiwer.json

(Run it from another folder, or as `python -P`, lest it import itself.)
"""

import json
import random
from importlib.metadata import version

import jiwer

SEED = 20240517
WORDS = ["mwána", "ibaa", "wó", "láawoá", "a", "ba", "αβ", "ik", "हिन्दी", "yá"]


def words(rng, longest):
    return [rng.choice(WORDS[: rng.choice([3, len(WORDS)])]) for _ in range(rng.randint(0, longest))]


def garble(rng, reference):
    out = []
    for word in reference:
        draw = rng.random()
        if draw < 0.15:
            continue
        out.append(rng.choice(WORDS) if draw < 0.35 else word[1:] if draw < 0.45 and len(word) > 1 else word)
        if rng.random() < 0.12:
            out.append(rng.choice(WORDS))
    return out


def counts(output):
    return [output.hits + output.substitutions + output.deletions, output.substitutions, output.deletions, output.insertions]


def main():
    rng = random.Random(SEED)
    corpora = [([""], ["a b"]), (["a b"], [""]), (["", "a"], ["b", "a"])]
    for i in range(60):
        longest = 40 if i % 6 == 0 else 12
        references = [words(rng, longest) for _ in range(rng.randint(1, 6))]
        hypotheses = [words(rng, longest) if rng.random() < 0.3 else garble(rng, r) for r in references]
        corpora.append(([" ".join(r) for r in references], [" ".join(h) for h in hypotheses]))
    cases = []
    for references, hypotheses in corpora:
        by_word = jiwer.process_words(references, hypotheses)
        by_character = jiwer.process_characters(references, hypotheses)
        cases.append({
            "references": references,
            "hypotheses": hypotheses,
            "wer": by_word.wer,
            "words": counts(by_word),
            "cer": by_character.cer,
            "characters": counts(by_character),
        })
    made = {"jiwer": version("jiwer"), "rapidfuzz": version("rapidfuzz"), "seed": SEED}
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    print(f'{{"made_by": {json.dumps(made)},\n"cases": [\n{lines}\n]}}')


main()
