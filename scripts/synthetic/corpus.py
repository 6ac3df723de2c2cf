"""The whole corpus: how much of each language, made side by side, gone on with after an interruption."""

import collections
import concurrent.futures
import functools
import json
import math
import os
import threading

from .languages import Language, prepare
from .programs import fail, installed, say
from .readme import readme
from .render import AIM, draw_utterance, flac_seconds, write_flac
from .text import digest, read_udhr
from .voices import NotSpoken, list_voices

RECIPE = 1  # to be raised by whatever changes the utterances
SECONDS_PER_WORD, SECONDS_OF_NUMBERS = 2.0, 120.0  # how much speech a language's words and numbers are good for


def share_out(seconds, languages):
    """Seconds of each voice: equal for each language as far as its text allows, and a language's voices share."""
    allowed = {
        language.voice.language: len(language.text.words) * SECONDS_PER_WORD + language.numbers * SECONDS_OF_NUMBERS
        for language in languages
    }
    families = collections.defaultdict(list)
    for language in languages:
        families[language.voice.language.partition("-")[0]].append(language.voice.language)
    left, shares = seconds, {}
    order = sorted(families.values(), key=lambda family: (sum(allowed[name] for name in family), family))
    for index, family in enumerate(order):
        share = min(left / (len(order) - index), sum(allowed[name] for name in family))
        left -= share
        for name in family:
            shares[name] = share * allowed[name] / sum(allowed[name] for name in family)
    return shares, left


def read_journal(folder):
    """Rows of the language's utterances 1, 2, … as far as they were finished."""
    rows = []
    try:
        lines = (folder / "utterances.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return rows
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            break
        path = folder.parent.parent / row["audio"]
        if path.stem != f"{number:04}" or not path.is_file() or flac_seconds(path) != row["duration"]:
            break
        rows.append(row)
    return rows


def make_language(out, seed, variants, share, language, stop):
    """The language's rows, and why there are not more of them where its share was not reached."""
    name = language.voice.language
    folder = out / "audio" / name
    folder.mkdir(parents=True, exist_ok=True)
    rows, problem = read_journal(folder), None
    write_text(folder / "utterances.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    chosen, seconds = [], 0.0
    with open(folder / "utterances.jsonl", "a", encoding="utf-8") as journal:
        while (seconds < share - AIM[2] / 2 or not chosen) and not stop.is_set():  # so that it is right on average
            number = len(chosen) + 1
            if number > len(rows):
                try:
                    samples, speaker = draw_utterance(seed, language, variants, number)
                except NotSpoken as reason:
                    problem = str(reason)
                    break
                audio = f"audio/{name}/{number:04}.flac"
                write_flac(samples, out / audio)
                duration = flac_seconds(out / audio)
                row = {"id": f"{name}-{number:04}", "audio": audio, "duration": duration, "speaker": speaker}
                row["language"] = name
                journal.write(json.dumps(row) + "\n")
                journal.flush()
                rows.append(row)
            chosen.append(rows[number - 1])
            seconds += chosen[-1]["duration"]
    return chosen, problem


def write_text(path, text):
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def keep_to_one_recipe(out, recipe):
    """A folder's utterances are all of one seed, synthesiser and text."""
    path = out / "recipe.json"
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        differing = [key for key in recipe if before.get(key) != recipe[key]]
        if differing:
            said = "; ".join(f"{key} was {before.get(key)} and is now {recipe[key]}" for key in differing)
            fail(f"{out} was made otherwise: {said}. Name another folder, or delete this one")
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(recipe, indent=1) + "\n")


def make(arguments):
    versions = installed()
    archive = read_udhr(arguments.udhr) if arguments.udhr else {}
    out = arguments.out
    recipe = {"recipe": RECIPE, "seed": arguments.seed, **versions, "udhr": digest(archive)}
    keep_to_one_recipe(out, recipe)
    voices, variants = list_voices()
    say(
        f"espeak-ng {versions['espeak-ng']}: {len(voices)} voices, {sum(map(len, variants))} variants;"
        f" sox {versions['sox']}; babel {versions['babel']}; {'with' if archive else 'without'} the declaration's texts"
    )
    stop = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as workers:
        try:
            found = dict(zip(voices, workers.map(functools.partial(prepare, archive=archive), voices), strict=True))
            languages = [language for language in found.values() if isinstance(language, Language)]
            left_out = {voice.language: reason for voice, reason in found.items() if isinstance(reason, str)}
            for name, reason in sorted(left_out.items()):
                say(f"left out {name}: {reason}")
            if not languages:
                fail("no language is left")
            shares, short = share_out(arguments.hours * 3600, languages)
            if short > 1:
                say(f"the texts are good for {arguments.hours - short / 3600:.1f} hours only")
            running = {}
            for language in languages:
                share = shares[language.voice.language]
                job = workers.submit(make_language, out, arguments.seed, variants, share, language, stop)
                running[job] = language
            made = {}
            for future in concurrent.futures.as_completed(running):
                language, (rows, problem) = running[future], future.result()
                name = language.voice.language
                minutes = sum(row["duration"] for row in rows) / 60
                if problem:
                    left_out[name] = f"stopped at {minutes:.1f} minutes: {problem}"
                if rows:
                    made[name] = (language, rows)
                why = f" ({problem})" if problem else ""
                say(f"{len(made)} of {len(languages)}: {name} {len(rows)} utterances, {minutes:.1f} min{why}")
        except BaseException:
            stop.set()
            workers.shutdown(cancel_futures=True)
            raise
    rows = [row for _, (_, rows) in sorted(made.items()) for row in rows]
    write_text(out / "all.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_text(out / "README.md", readme(recipe, arguments, made, left_out, variants))
    hours = math.fsum(row["duration"] for row in rows) / 3600
    print(f"{hours:.2f} hours, {len(rows)} utterances, {len(made)} languages and accents: {out / 'all.jsonl'}")
