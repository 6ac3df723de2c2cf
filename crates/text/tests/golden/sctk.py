"""NIST's matched-pairs test (sc_stats -t mapsswe) on random pairs of systems, for tests/sctk.rs.

    apt-get install sctk=2.4.10-20151007-1312Z+dfsg2-3.1
    python sctk.py > sctk.json

An utterance is [reference, hypothesis of a, its alignment, hypothesis of b, its alignment], the alignments as sclite makes them:
C, S, D, I for each step. `printed` is what sc_stats says, digit by digit; its difference is a - b.

sclite weighs 4 for a substitution and 3 for a deletion or insertion, klang counts 1 for each. Where `alike`, both must find the
same words right: no word occurs twice in a reference, wrong words are in none, and no hypothesis has both deletions and
insertions, so that to give up a right word costs more by either rule. Elsewhere texts are left out. (Where both systems are
right throughout, sc_stats crashes.)
"""

import json
import pathlib
import random
import re
import subprocess
import tempfile

SEED = 20240611
BIN = "/usr/lib/sctk/bin/"
WORDS = "ba be bi bo bu da de di do du ga ge gi go gu ka ke ki ko ku".split()
WRONG = "xa xe xi xo xu".split()
PRINTED = re.compile(r"MTCH_PR_RESULTS .*\(# segs: (\d+)\).*\(mean: +(\S+)\) \(std dev: +(\S+)\) \(Z Stat: +(\S+)\)")


def said(rng, longest):
    return rng.sample(WORDS, rng.randint(1, longest))


def heard(rng, reference, rate, both=False):
    """The reference with errors in about `rate` of its words."""
    missing = rng.random() < 0.5
    out = []
    for word in reference:
        kind = rng.random() if rng.random() < rate else None
        if kind is None:
            out.append(word)
        elif kind < 0.5:
            out.append(rng.choice(WRONG))
        elif not (kind < 0.75 if both else missing):
            out += [rng.choice(WRONG), word]
    if rng.random() < rate and (both or not missing):
        out.append(rng.choice(WRONG))
    return out


def wild(rng):
    """Few words that recur, errors of all kinds, references without a word."""
    reference = [rng.choice(WORDS[:4]) for _ in range(rng.choice([0, 1, 3, 9, 14]))]
    return reference, [[rng.choice(WORDS[:5]) if rng.random() < 0.1 else w for w in heard(rng, reference, 0.2, True)] for _ in "ab"]


def cases(rng):
    """name, alike, (reference, (a, b)) of each utterance"""
    references = [said(rng, 14) for _ in range(24)]
    same = [heard(rng, r, 0.2) for r in references]
    yield "the same errors", True, [(r, (h, h)) for r, h in zip(references, same)]
    references = [said(rng, 16) for _ in range(45)]
    yield "one clearly better", True, [(r, (heard(rng, r, 0.3), heard(rng, r, 0.08))) for r in references]
    references = [said(rng, 14) for _ in range(40)]
    yield "one a little better", True, [(r, (heard(rng, r, 0.15), heard(rng, r, 0.2))) for r in references]
    references = [said(rng, 14) for _ in range(40)]
    yield "near tie", True, [(r, (heard(rng, r, 0.17), heard(rng, r, 0.17))) for r in references]
    references = [said(rng, 9) for _ in range(24)]
    yield "empty hypotheses", True, [(r, (heard(rng, r, 0.15), [] if i % 4 == 0 else r)) for i, r in enumerate(references)]
    references = [said(rng, 1) for _ in range(30)]
    yield "utterances of one word", True, [(r, (heard(rng, r, 0.5), heard(rng, r, 0.3))) for r in references]
    references = [said(rng, 12) for _ in range(12)]
    yield "always one error more", True, [(r, ([*r, "xa"], r)) for r in references]
    yield "recurring words", False, [wild(rng) for _ in range(120)]
    yield "recurring words again", False, [wild(rng) for _ in range(120)]


def run(folder, *command, stdin=""):
    return subprocess.run(command, cwd=folder, input=stdin, capture_output=True, encoding="latin-1", check=True).stdout


def aligned(folder, system, texts):
    """sclite's report of one system, and the alignment of each utterance."""
    (folder / system).write_text("".join(f"{' '.join(text)} (s{i % 3}_{i:03})\n" for i, text in enumerate(texts)))
    sgml = run(folder, BIN + "sclite", "-r", "reference", "trn", "-h", system, "trn", system, "-i", "spu_id", "-o", "sgml", "stdout")
    steps = {int(i): re.sub("[^CSDI]", "", re.sub('"[^"]*"', "", line))
             for i, line in re.findall(r'<PATH id="\(s\d_(\d+)\)"[^>]*>\n(.*)\n', sgml)}
    return sgml, [steps[i] for i in range(len(texts))]


def main():
    rng = random.Random(SEED)
    out = []
    for name, alike, utterances in cases(rng):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            references = [r for r, _ in utterances]
            (folder / "reference").write_text("".join(f"{' '.join(r)} (s{i % 3}_{i:03})\n" for i, r in enumerate(references)))
            a, steps_a = aligned(folder, "a", [h[0] for _, h in utterances])
            b, steps_b = aligned(folder, "b", [h[1] for _, h in utterances])
            verbose = run(folder, BIN + "sc_stats", "-p", "-t", "mapsswe", "-v", "-n", "-", stdin=a + b)
            unified = run(folder, BIN + "sc_stats", "-p", "-t", "mapsswe", "-u", "-n", "-", stdin=a + b)
        segments, mean, sd, z = PRINTED.search(verbose).groups()
        (p,) = re.findall(r"\|\| +a +\| +\| +[~ab] +(<?[\d.]+)", unified)
        text = (lambda words: " ".join(words)) if alike else (lambda words: "")
        out.append({
            "name": name,
            "alike": alike,
            "printed": {"segments": int(segments), "mean": mean, "sd": sd, "z": z, "p": p},
            "utterances": [[text(r), text(h[0]), x, text(h[1]), y] for (r, h), x, y in zip(utterances, steps_a, steps_b)],
        })
    version = run(None, "dpkg-query", "-W", "-f", "${Version}", "sctk")
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in out)
    print(f'{{"made_by": {json.dumps({"sctk": version, "seed": SEED})},\n"cases": [\n{lines}\n]}}')


main()
