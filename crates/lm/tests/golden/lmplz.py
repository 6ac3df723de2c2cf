"""KenLM's models and scores, for tests/kenlm.rs.

    git clone of kpu/kenlm at 4cb443e, built with cmake (needs boost): BIN is its bin/, with lmplz and query
    pip install kenlm==0.3.0
    python lmplz.py BIN UTTERANCES.tsv OUT

The texts are excerpts of one speaker's training sentences from the Mboshi corpus (Godard et al., arXiv 1710.03501), sentences to
score among them too. Writes OUT/lmplz.json and an ARPA file, gzip, for each model that lmplz estimates.

lmplz (adjust_counts.cc, AdjustCounts::Run, its last loop) counts the last n-gram of each order below the highest by how often it
was seen, where the adjusted count is meant. Discounts show it where these differ. Here the last n-gram, which ends in the word
that is new last, was seen once, so that they do not.

A model of a case is lmplz's; a variant is that of another case less some lines, which its scores are then KenLM's for:
some bigrams that end trigrams, with all that they begin (as SRILM prunes), or <unk>.
"""

import csv
import gzip
import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import kenlm

COMMIT = "4cb443e60b7bf2c0ddf3c745378f76cb59e254e5"


def rounded(log10):
    """Enough digits for any float of 32 bits."""
    return float(f"{log10:.9g}")


def scores(path, sentences):
    """Of each sentence [log10, n-gram length, unknown] of each word and of its end."""
    model = kenlm.Model(str(path))
    return [[[rounded(p), n, oov] for p, n, oov in model.full_scores(sentence)] for sentence in sentences]


def perplexities(bin, path, sentences):
    text = "".join(f"{sentence}\n" for sentence in sentences)
    out = subprocess.run([bin / "query", "-v", "summary", path], input=text, capture_output=True, text=True, check=True).stdout
    figures = dict(re.findall(r"^(.+):\t(\S+)$", out, re.M))
    return {
        "including": float(figures["Perplexity including OOVs"]),
        "excluding": float(figures["Perplexity excluding OOVs"]),
        "oov": int(figures["OOVs"]),
        "tokens": int(figures["Tokens"]),
    }


def main():
    bin, table, out = (pathlib.Path(argument) for argument in sys.argv[1:])
    with table.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    short = [row["text"] for row in rows if row["split"] == "train-10min"]
    long = [row["text"] for row in rows if row["split"] == "train-1h"]
    characters = lambda sentences: [" ".join(sentence.replace(" ", "|")) for sentence in sentences]
    # name, order, text, text to score, options
    cases = [
        ("words", 3, long[:300], short[:40], []),
        ("words_pruned", 3, long[:300], short[:40], ["--prune", "0", "1", "2"]),
        ("characters", 5, characters(long[:40]), characters(short[:12]), ["--discount_fallback"]),
        ("repeated", 4, short[40:46] * 3 + short[46:47], short[40:49], ["--discount_fallback"]),
        ("unigrams", 1, long[:300], short[:10], []),
    ]
    result = {"made_by": {"kenlm": importlib.metadata.version("kenlm"), "lmplz": COMMIT}, "cases": [], "variants": []}
    for name, order, text, scored, options in cases:
        path = out / f"{name}.arpa"
        joined = "".join(f"{sentence}\n" for sentence in text)
        run = subprocess.run([bin / "lmplz", "-o", str(order), "-S", "10%", *options], input=joined, capture_output=True, text=True)
        if run.returncode:
            raise SystemExit(f"{name}: {run.stderr}")
        path.write_text(run.stdout, encoding="utf-8")
        discounts = [[float(d) for d in row] for row in re.findall(r"^\d+ \d\S* D1=(\S+) D2=(\S+) D3\+=(\S+)$", run.stderr, re.M)]
        fallback = [int(i) + 1 for i in re.findall(r"fallback discounts for order (\d)", run.stderr)]
        case = {"name": name, "order": order, "options": options, "discounts": discounts, "fallback": fallback, "text": text, "scored": scored}
        if order > 1:  # KenLM does not read models of order 1.
            case |= {"scores": scores(path, scored), "perplexity": perplexities(bin, path, scored)}
        result["cases"].append(case)
        with open(f"{path}.gz", "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
            packed.write(run.stdout.encode())

    lines = (out / "words.arpa").read_text(encoding="utf-8").split("\n")
    grams = [line.split("\t")[1] for line in lines if "\t" in line]
    # Bigrams that were said and end a trigram, and the trigrams that they begin; <s> begins what nothing ends.
    suffixes = {gram.split(" ", 1)[1] for gram in grams if gram.count(" ") == 2}
    said = {" ".join(pair) for sentence in short[:40] for pair in zip(sentence.split(), sentence.split()[1:])}
    holes = sorted(suffixes & said)[::4]
    holes += [gram for gram in grams if gram.count(" ") == 2 and gram.rsplit(" ", 1)[0] in holes]
    for name, missing in [("holes", holes), ("no_unknown", ["<unk>"])]:
        less = [line for line in lines if "\t" not in line or line.split("\t")[1] not in missing]
        for n in range(1, 4):
            gone = sum(gram.count(" ") == n - 1 for gram in missing)
            less = [f"ngram {n}={int(line.split('=')[1]) - gone}" if line.startswith(f"ngram {n}=") else line for line in less]
        with tempfile.NamedTemporaryFile("w", suffix=".arpa", encoding="utf-8") as file:
            file.write("\n".join(less))
            file.flush()
            result["variants"].append({"name": name, "of": "words", "missing": missing, "scores": scores(file.name, short[:40])})
    for name, *_ in cases:
        (out / f"{name}.arpa").unlink()
    text = json.dumps(result, ensure_ascii=False, separators=(",", ":"))
    (out / "lmplz.json").write_text(text.replace('{"name"', '\n{"name"').replace('"scores"', '\n"scores"') + "\n", encoding="utf-8")


main()
