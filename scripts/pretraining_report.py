"""The report of scripts/pretraining: error rates with intervals, paired differences, learning curves."""

import html
import json
import pathlib
import random

NAMES = {"random": "random weights", "synthetic": "synthetic speech", "further": "synthetic, then the target's audio"}
LEGEND = {"random": "random weights", "synthetic": "synthetic speech", "further": "and the target's audio"}
COLOURS = {"random": "#888", "synthetic": "#1f77b4", "further": "#d62728"}
RESAMPLES = 2000
# Short runs of configs/pretraining/synthetic.yaml: name, settings.
ABLATIONS = [
    ("as-it-is", []),
    ("masked-frames-alone", ["pretrain.unmasked=0"]),
    ("log-mel", ["pretrain.spectrum=log_mel"]),
    ("one-codebook", ["pretrain.best_rq.codebooks=1"]),
]
RESULTS = pathlib.Path("docs/results/pretraining")


def edits(reference, hypothesis):
    """Levenshtein distance of two sequences."""
    row = list(range(len(hypothesis) + 1))
    for place, symbol in enumerate(reference, 1):
        before, row[0] = row[0], place
        for other, guess in enumerate(hypothesis, 1):
            before, row[other] = row[other], min(row[other] + 1, row[other - 1] + 1, before + (symbol != guess))
    return row[-1]


def errors(run, name):
    """(wrong words, words, wrong characters, characters) of each utterance of a set by id, checked by klang's sums."""
    folder = run / "scores" / name.replace(" ", "-")
    score = json.loads((folder / "score.json").read_text(encoding="utf-8"))
    lines = [json.loads(line) for path in folder.glob("*.hypotheses.jsonl") for line in path.open(encoding="utf-8")]
    texts = {line["id"]: (line["reference"], line["text"]) for line in lines}
    counts = {}
    for key, (reference, hypothesis) in texts.items():
        words = reference.split(), hypothesis.split()
        counts[key] = (edits(*words), len(words[0]), edits(reference, hypothesis), len(reference))
    wrong = [sum(count[place] for count in counts.values()) for place in range(4)]
    found = [wrong[0] / wrong[1], wrong[2] / wrong[3]]
    if abs(found[0] - score["wer"]) > 1e-9 or abs(found[1] - score["cer"]) > 1e-9:
        raise SystemExit(f"{run}: {name}: {found} here, {score['wer']} and {score['cer']} by klang")
    return counts


def rate(samples, keys, place):
    """The mean over seeds of an error rate over these utterances; place 0 is words, 2 characters."""
    rates = []
    for counts in samples:
        wrong = sum(counts[key][place] for key in keys)
        rates.append(wrong / max(1, sum(counts[key][place + 1] for key in keys)))
    return sum(rates) / len(rates)


def interval(values):
    ordered = sorted(values)
    return ordered[int(0.025 * len(ordered))], ordered[int(0.975 * len(ordered)) - 1]


def compare(starts, place):
    """Of each start its rate with a 95 % interval, and the difference from random weights with one; utterances are drawn
    anew, the same for all starts and seeds."""
    keys = sorted(next(iter(starts.values()))[0])
    draw = random.Random(1)
    resamples = [[draw.choice(keys) for _ in keys] for _ in range(RESAMPLES)]
    drawn = {start: [rate(samples, some, place) for some in resamples] for start, samples in starts.items()}
    rows = {}
    for start, samples in starts.items():
        row = {"rate": rate(samples, keys, place), "interval": interval(drawn[start]), "seeds": len(samples)}
        row["by_seed"] = [rate([counts], keys, place) for counts in samples]
        if start != "random" and "random" in starts:
            row["difference"] = row["rate"] - rate(starts["random"], keys, place)
            row["difference_interval"] = interval([a - b for a, b in zip(drawn[start], drawn["random"])])
        rows[start] = row
    return rows


def percent(value, sign=""):
    return f"{100 * value:{sign}.1f}"


HEAD = ["start", "WER", "95 %", "CER", "95 %", "CER less random's", "95 %", "CER by seed"]


def table(compared):
    def between(ends, sign=""):
        return " to ".join(percent(end, sign) for end in ends)

    lines = ["| " + " | ".join(HEAD) + " |", "|---" + "|--:" * (len(HEAD) - 1) + "|"]
    for start, rates in compared.items():
        words, characters = rates["wer"], rates["cer"]
        cells = [NAMES[start], percent(words["rate"]), between(words["interval"])]
        cells += [percent(characters["rate"]), between(characters["interval"])]
        if "difference" in characters:
            cells += [percent(characters["difference"], "+"), between(characters["difference_interval"], "+")]
        else:
            cells += ["", ""]
        cells.append(", ".join(percent(value) for value in characters["by_seed"]))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def curve(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {line["update"]: line["score"]["cer"] for line in lines if line["kind"] == "dev"}


def line(run, x, y):
    return "M" + "L".join(f"{x(update):.1f} {y(value):.1f}" for update, value in sorted(run.items()))


def draw(title, curves):
    """CER on dev over updates: of each start the mean of its seeds, and each seed as a thin line."""
    width, height, left, top, right, bottom = 640, 320, 56, 34, 440, 280
    last = max(update for runs in curves.values() for run in runs for update in run)
    highest = max(1.0, max(value for runs in curves.values() for run in runs for value in run.values()))

    def x(update):
        return left + (right - left) * update / last

    def y(value):
        return bottom - (bottom - top) * value / highest

    def text(place, words, more=""):
        return f'<text x="{place[0]:.1f}" y="{place[1]:.1f}" {more}>{html.escape(words)}</text>'

    parts = [text((left, 20), f"{title}: CER on dev, %", 'font-weight="bold"')]
    for tick in range(0, int(100 * highest) + 1, 20):
        parts.append(f'<path d="M{left} {y(tick / 100):.1f}H{right}" stroke="#ddd"/>')
        parts.append(text((left - 8, y(tick / 100) + 4), str(tick), 'text-anchor="end"'))
    for number in range(5):
        update = last * number // 4
        parts.append(text((x(update), bottom + 18), str(update), 'text-anchor="middle"'))
    parts.append(text(((left + right) / 2, bottom + 34), "updates", 'text-anchor="middle"'))
    for place, (start, runs) in enumerate(curves.items()):
        stroke = f'fill="none" stroke="{COLOURS[start]}"'
        parts += [f'<path d="{line(run, x, y)}" {stroke} opacity=".35"/>' for run in runs]
        shared = set.intersection(*(set(run) for run in runs))
        mean = {update: sum(run[update] for run in runs) / len(runs) for update in shared}
        parts.append(f'<path d="{line(mean, x, y)}" {stroke} stroke-width="2.5"/>')
        parts.append(text((right + 12, top + 20 * (place + 1)), LEGEND[start], f'fill="{COLOURS[start]}"'))
    frame = f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12"'
    paper = f'<rect width="{width}" height="{height}" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {frame}>{paper}{"".join(parts)}</svg>\n'


def compared(counted):
    """WER and CER of each start, of the counts of its seeds."""
    words, characters = compare(counted, 0), compare(counted, 2)
    return {start: {"wer": words[start], "cer": characters[start]} for start in counted}


def together(folds, starts):
    """All folds as one set: each utterance was held out once."""
    seeds = min(len(counted[start]) for counted in folds for start in starts)
    return {
        start: [{key: count for fold in folds for key, count in fold[start][seed].items()} for seed in range(seeds)]
        for start in starts
    }


def ablations(work, seeds):
    """What short pretrainings ended with, a row each."""
    rows = []
    for name, settings in ABLATIONS:
        for seed in seeds:
            metrics = work / f"ablation-{name}-{seed}" / "metrics.jsonl"
            lines = [json.loads(line) for line in metrics.open(encoding="utf-8")] if metrics.exists() else []
            ends = [line for line in lines if line["kind"] == "held_out"]
            if ends:
                rows.append({"name": name, "set": settings, "seed": seed, "end": ends[-1]})
    return rows


def ablation_table(rows):
    lines = ["| what | set | seed | frames told, % | spread | probe, nats a label | probe, CER % |", "|---|---|--:|--:|--:|--:|--:|"]
    for row in rows:
        held, probe = row["end"]["held_out"], row["end"]["probe"]
        cells = [row["name"].replace("-", " "), " ".join(f"`{setting}`" for setting in row["set"]), str(row["seed"])]
        cells += [percent(held["accuracy"]), f"{held['spread']:.2f}"]
        cells += [f"{probe['loss']:.2f}", percent(probe["score"]["cer"])]
        lines.append("| " + " | ".join(cells) + " |")
    update = rows[0]["end"]["update"]
    return f"### What the departures from BEST-RQ's paper do, after {update} updates\n\n" + "\n".join(lines) + "\n"


def report(work, options):
    """Writes tables, curves and figures of every target that has runs."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    figures, text, folds = {}, [], []
    for target in options.targets:
        runs = {}
        for start in options.starts:
            found = [work / f"{target}-{start}-{seed}" for seed in options.seeds]
            found = [run for run in found if (run / "scores").exists()]
            runs |= {start: found} if found else {}
        if not runs:
            continue
        curves = {start: [curve(run) for run in found] for start, found in runs.items()}
        (RESULTS / f"{target}.svg").write_text(draw(target, curves), encoding="utf-8")
        text.append(f"### {target}\n\n![CER on dev]({RESULTS.name}/{target}.svg)\n")
        first = next(iter(runs.values()))[0]
        for name in sorted(path.name for path in (first / "scores").iterdir() if path.suffix != ".tmp"):
            counted = {start: [errors(run, name) for run in found] for start, found in runs.items()}
            rates = compared(counted)
            figures.setdefault(target, {})[name] = rates
            text.append(f"{name.replace('-', ' ')}:\n\n{table(rates)}\n")
            if target.startswith("fsdd-"):
                folds.append(counted)
    starts = [start for start in options.starts if all(start in fold for fold in folds)]
    if len(folds) > 1 and starts:
        rates = compared(together(folds, starts))
        figures["fsdd"] = {"held-out-speaker": rates}
        text.insert(0, f"### fsdd, {len(folds)} folds as one\n\nEach speaker held out once:\n\n{table(rates)}\n")
    rows = ablations(work, options.seeds)
    if rows:
        figures["ablations"] = rows
        text.append(ablation_table(rows))
    (RESULTS / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    document = pathlib.Path("docs/results/pretraining.md")
    marker = "<!-- By `scripts/pretraining report`; nothing below this line is written by hand. -->"
    head = document.read_text(encoding="utf-8").split(marker)[0] if document.exists() else "# What pretraining is worth\n"
    document.write_text(f"{head.rstrip()}\n\n{marker}\n\n" + "\n".join(text), encoding="utf-8")
    print(f"{document}, {RESULTS}")
