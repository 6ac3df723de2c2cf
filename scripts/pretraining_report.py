"""The report of scripts/pretraining: error rates with intervals, paired differences, learning curves."""

import html
import json
import pathlib
import random

NAMES = {"random": "random weights", "synthetic": "synthetic speech", "further": "synthetic, then the target's audio"}
COLOURS = {"random": "#888", "synthetic": "#1f77b4", "further": "#d62728"}
RESAMPLES = 2000
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
    """(wrong words, words, wrong characters, characters) of each utterance of a set, by id; checked against klang's own sums."""
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
    """Of each start its rate and 95 % interval, and of each its difference from random weights; utterances are drawn anew, the
    same for all starts and seeds."""
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


def table(compared):
    lines = ["| start | WER | 95 % | CER | 95 % | CER, less random's | 95 % | CER by seed |", "|---|--:|--:|--:|--:|--:|--:|--:|"]
    for start, (words, characters) in compared.items():
        between = lambda ends, sign="": " to ".join(percent(end, sign) for end in ends)
        apart, ends = "", ""
        if "difference" in characters:
            apart, ends = percent(characters["difference"], "+"), between(characters["difference_interval"], "+")
        seeds = ", ".join(percent(value) for value in characters["by_seed"])
        lines.append(
            f"| {NAMES[start]} | {percent(words['rate'])} | {between(words['interval'])} | {percent(characters['rate'])} "
            f"| {between(characters['interval'])} | {apart} | {ends} | {seeds} |"
        )
    return "\n".join(lines)


def curve(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {line["update"]: line["score"]["cer"] for line in lines if line["kind"] == "dev"}


def draw(title, curves):
    """Mean CER on dev over updates, a line a start, each seed a thin one."""
    width, height, left, top, right, bottom = 640, 320, 56, 34, 470, 280
    last = max(update for runs in curves.values() for run in runs for update in run)
    highest = max(1.0, max(value for runs in curves.values() for run in runs for value in run.values()))
    x = lambda update: left + (right - left) * update / last
    y = lambda value: bottom - (bottom - top) * value / highest
    parts = [f'<text x="{left}" y="20" font-weight="bold">{html.escape(title)}: CER on dev, %</text>']
    for tick in range(0, int(100 * highest) + 1, 20):
        parts.append(f'<path d="M{left} {y(tick / 100):.1f}H{right}" stroke="#ddd"/><text x="{left - 8}" y="{y(tick / 100) + 4:.1f}" text-anchor="end">{tick}</text>')
    for number in range(5):
        update = last * number // 4
        parts.append(f'<text x="{x(update):.1f}" y="{bottom + 18}" text-anchor="middle">{update}</text>')
    parts.append(f'<text x="{(left + right) / 2}" y="{bottom + 34}" text-anchor="middle">updates</text>')
    for place, (start, runs) in enumerate(curves.items()):
        line = lambda run: "M" + "L".join(f"{x(update):.1f} {y(value):.1f}" for update, value in sorted(run.items()))
        for run in runs:
            parts.append(f'<path d="{line(run)}" fill="none" stroke="{COLOURS[start]}" opacity=".35"/>')
        shared = set.intersection(*(set(run) for run in runs))
        mean = {update: sum(run[update] for run in runs) / len(runs) for update in shared}
        parts.append(f'<path d="{line(mean)}" fill="none" stroke="{COLOURS[start]}" stroke-width="2.5"/>')
        parts.append(f'<text x="{right + 10}" y="{top + 20 * (place + 1)}" fill="{COLOURS[start]}">{html.escape(NAMES[start].split(",")[0])}{" + target" if start == "further" else ""}</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
            f'<rect width="{width}" height="{height}" fill="#fff"/>{"".join(parts)}</svg>\n')


def sets(run):
    return sorted(path.name for path in (run / "scores").iterdir() if path.suffix != ".tmp")


def report(work, options):
    """Writes tables, curves and figures of every target that has runs."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    figures, text = {}, []
    folds = {}
    for target in options.targets:
        runs = {
            start: [run for seed in options.seeds if (run := work / f"{target}-{start}-{seed}").joinpath("scores").exists()]
            for start in options.starts
        }
        runs = {start: found for start, found in runs.items() if found}
        if not runs:
            continue
        (RESULTS / f"{target}.svg").write_text(draw(target, {start: [curve(run) for run in found] for start, found in runs.items()}))
        text.append(f"### {target}\n\n![CER on dev]({RESULTS.name}/{target}.svg)\n")
        for name in sets(next(iter(runs.values()))[0]):
            counted = {start: [errors(run, name) for run in found] for start, found in runs.items()}
            compared = {start: (words, characters) for (start, words), characters in zip(compare(counted, 0).items(), compare(counted, 2).values())}
            figures.setdefault(target, {})[name] = {start: {"wer": words, "cer": characters} for start, (words, characters) in compared.items()}
            text.append(f"{name.replace('-', ' ')}:\n\n{table(compared)}\n")
            if target.startswith("fsdd-"):
                folds[target] = counted
    if len(folds) > 1:
        starts = [start for start in options.starts if all(start in counted for counted in folds.values())]
        seeds = min(len(counted[start]) for counted in folds.values() for start in starts)
        merged = {start: [{key: count for counted in folds.values() for key, count in counted[start][seed].items()} for seed in range(seeds)] for start in starts}
        compared = {start: (words, characters) for (start, words), characters in zip(compare(merged, 0).items(), compare(merged, 2).values())}
        figures["fsdd"] = {"held-out-speaker": {start: {"wer": words, "cer": characters} for start, (words, characters) in compared.items()}}
        text.insert(0, f"### fsdd, all {len(folds)} folds together\n\nEach speaker held out once:\n\n{table(compared)}\n")
    (RESULTS / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    document = pathlib.Path("docs/results/pretraining.md")
    marker = "<!-- tables by `scripts/pretraining report`; nothing below this line is written by hand -->"
    head = document.read_text(encoding="utf-8").split(marker)[0] if document.exists() else "# What pretraining is worth\n\n"
    document.write_text(f"{head.rstrip()}\n\n{marker}\n\n" + "\n".join(text), encoding="utf-8")
    print(f"{document}, {RESULTS}")
