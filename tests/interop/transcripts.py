"""Transcripts as klang writes them, each format read by its own tools: crates/transcript/tests/golden.

Praat itself (parselmouth) reads the TextGrids, pympi the ELAN files, srt and webvtt the subtitles, and NIST's sclite
the CTMs where it is installed. EAF_SCHEMA names ELAN's schema (EAFv3.0.xsd), by which the ELAN files are then validated
too; it is not in the repository, as nothing in it says under which licence it is. That takes lxml, which the
environment lacks.
"""

import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree

import parselmouth
import pympi
import srt
import webvtt

import report

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "crates/transcript/tests/golden"
CTM_LINE = re.compile(r"(\S+) 1 (\d+\.\d{3}) (\d+\.\d{3}) (\S+)(?: ([01]\.\d{4}))?")
# Where Debian's sctk puts it.
SCLITE = shutil.which("sclite", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/lib/sctk/bin"]))
# Seconds that words without a length may move those beside them by, a millisecond each.
MOVED = 0.02

FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
BREAK = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def compare(folder=GOLDEN):
    report.section("transcripts")
    names = sorted(path.stem for path in folder.glob("*.json"))
    report.check("transcripts", names, "files", folder)
    for name in names:
        transcript = json.loads((folder / f"{name}.json").read_text("utf-8"))
        for kind, read in READERS.items():
            with report.case(f"{name}.{kind}"):
                read(f"{name}.{kind}", folder / f"{name}.{kind}", transcript)
    by = "by sclite" if SCLITE else "without sclite"
    report.note(f"{len(names)} transcripts in {len(READERS)} formats, CTM {by}")


def text(path):
    """As it is on disk, line ends included."""
    return path.read_bytes().decode("utf-8")


def tokens(given):
    """The words of a text, parted by what klang takes for blanks: white space and control characters."""
    return BREAK.sub(" ", given).split()


def said(transcript):
    """Every word in the order of the segments; those of the text where a segment has none."""
    for segment in transcript["segments"]:
        words = [word for given in segment["words"] for word in tokens(given["text"])]
        yield from words or tokens(segment["text"])


def by_speaker(transcript):
    """Segments by who speaks, in the order in which they first do."""
    speakers = {} if transcript["segments"] else {None: []}
    for segment in transcript["segments"]:
        speakers.setdefault(segment["speaker"], []).append(segment)
    return speakers


def txt(name, path, transcript):
    report.equal(name, BREAK.sub(" ", transcript["text"]) + "\n", text(path))


def as_json(name, path, transcript):
    report.equal(f"{name}, lines", 1, text(path).count("\n"))
    report.equal(f"{name}, keys", ["audio", "duration", "text", "segments"], list(transcript))
    spoken = " ".join(filter(None, (segment["text"].strip() for segment in transcript["segments"])))
    report.equal(f"{name}, text", spoken, transcript["text"])


def subtitles(name, cues, transcript):
    """Cues as (start, end, lines), in seconds."""
    starts = [start for start, _, _ in cues]
    report.equal(f"{name}, order", sorted(starts), starts)
    for start, end, lines in cues:
        held = 0 <= start < end <= transcript["duration"] + MOVED
        held &= 1 <= len(lines) <= 2 and all(map(str.strip, lines))
        report.check(f"{name}, cue", held, "a time within the audio and one or two lines", (start, end, lines))
    # Words that are wider than a line are broken between their characters.
    spoken = sorted("".join(said(transcript)))
    report.equal(f"{name}, text", spoken, sorted("".join("".join(lines).replace(" ", "") for _, _, lines in cues)))


def as_srt(name, path, transcript):
    found = list(srt.parse(text(path), ignore_errors=False))
    report.equal(f"{name}, numbers", list(range(1, len(found) + 1)), [cue.index for cue in found])
    # The one thing that klang changes.
    arrows = json.loads(json.dumps(transcript, ensure_ascii=False).replace("-->", "→"))
    cues = [(cue.start.total_seconds(), cue.end.total_seconds(), cue.content.split("\n")) for cue in found]
    subtitles(name, cues, arrows)


def as_vtt(name, path, transcript):
    found = webvtt.read(path)
    seconds = lambda cue: (cue.start_in_seconds + cue.start_time.milliseconds / 1e3,
                           cue.end_in_seconds + cue.end_time.milliseconds / 1e3)
    unescaped = lambda line: line.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    cues = [(*seconds(cue), [unescaped(line) for line in cue.text.split("\n")]) for cue in found]
    subtitles(name, cues, transcript)
    speakers = {segment["speaker"] for segment in transcript["segments"]} - {None}
    report.equal(f"{name}, voices", speakers, {unescaped(cue.voice) for cue in found if cue.voice})


def ctm(name, path, transcript):
    found = [CTM_LINE.fullmatch(line) for line in text(path).split("\n")[:-1]]
    if not report.check(f"{name}, lines", all(found), "fields of CTM", text(path)):
        return
    starts = [float(line[2]) for line in found]
    report.equal(f"{name}, order", sorted(starts), starts)
    report.equal(f"{name}, files", min(1, len(found)), len({line[1] for line in found}))
    report.equal(f"{name}, words", sorted(said(transcript)), sorted(line[4] for line in found))
    # To sclite some of the hostile words are markup, and no words are no file.
    if SCLITE and found and name.startswith("talk"):
        with tempfile.TemporaryDirectory() as folder:
            command = [SCLITE, "-r", path, "ctm", "-h", path, "ctm", "-o", "rsum", "-O", folder, "-n", "own"]
            subprocess.run(command, check=True, capture_output=True)
            table = text(pathlib.Path(folder) / "own.raw")
            total = re.search(r"\| Sum +\| *\d+ +(\d+) +\| *(\d+) +(\d+) +(\d+) +(\d+) ", table)
            right = [len(found), len(found), 0, 0, 0]
            report.equal(f"{name}, sclite", right, [int(count) for count in total.groups()])


def text_grid(name, path, transcript):
    """Praat's intervals against the transcript's, and what Praat saves against what klang wrote."""
    grid = parselmouth.read(str(path))
    ask = lambda question, *arguments: parselmouth.praat.call(grid, question, *arguments)
    tiers = {}
    for tier in range(1, ask("Get number of tiers") + 1):
        spans = [(ask("Get start time of interval", tier, number), ask("Get end time of interval", tier, number),
                  ask("Get label of interval", tier, number))
                 for number in range(1, ask("Get number of intervals", tier) + 1)]
        edges = [0.0, *(end for _, end, _ in spans)]
        report.equal(f"{name}, tier {tier} without gaps", edges[:-1], [start for start, _, _ in spans])
        to_end = abs(edges[-1] - transcript["duration"]) < MOVED
        report.check(f"{name}, tier {tier} to the end", to_end, transcript["duration"], edges[-1])
        tiers[ask("Get tier name", tier)] = [span for span in spans if span[2]]
    report.equal(f"{name}, tiers", {tier for tier, _ in expected_tiers(transcript, " - ", "{1}{0}{2}s")}, set(tiers))
    for tier, parts in expected_tiers(transcript, " - ", "{1}{0}{2}s"):
        wanted = [(part["start"], part["end"], BREAK.sub(" ", part["text"])) for part in parts if part["text"]]
        same_spans(f"{name}, {tier}", wanted, tiers.get(tier, []))
    with tempfile.TemporaryDirectory() as folder:
        saved = pathlib.Path(folder) / "saved.TextGrid"
        parselmouth.praat.call("Text writing preferences", "UTF-8")
        grid.save(str(saved))
        report.equal(f"{name}, as Praat saves it", text(saved), text(path))


def expected_tiers(transcript, separator, form, characters=True):
    """(name, parts) of every tier; `form` takes the separator, the speaker and the kind."""
    for speaker, segments in by_speaker(transcript).items():
        words = [word for segment in segments for word in segment["words"]]
        kinds = {"segment": segments, "word": words}
        if characters:
            kinds["character"] = [character for word in words for character in word["characters"]]
        for kind, parts in kinds.items():
            if parts or kind == "segment":
                yield form.format(separator if speaker else "", speaker or "", kind), parts


def same_spans(name, wanted, found):
    """The same texts in the same order, at times that differ by no more than a word without a length asks for."""
    if not report.equal(f"{name}, texts", [label for _, _, label in wanted], [label for _, _, label in found]):
        return
    bound = MOVED if any(end - start < 2e-3 for start, end, _ in wanted) else 1e-3
    worst = max((abs(a - b) for one, other in zip(wanted, found) for a, b in zip(one[:2], other[:2])), default=0.0)
    report.check(f"{name}, times", worst < bound, f"within {bound} s", worst)
    report.check(f"{name}, lengths", all(start < end for start, end, _ in found), "no empty interval", found)


def eaf(name, path, transcript):
    structure(name, path)
    document = pympi.Elan.Eaf(str(path))
    found = document.get_tier_names()
    expected = {tier.replace("segment", "utterance"): parts
                for tier, parts in expected_tiers(transcript, "@", "{2}{0}{1}", characters=False)}
    report.equal(f"{name}, tiers", set(expected), set(found))
    for tier, parts in expected.items():
        label = lambda given: FORBIDDEN.sub("\ufffd", BREAK.sub(" ", given))
        wanted = [(part["start"], part["end"], label(part["text"])) for part in parts]
        annotations = sorted(document.get_annotation_data_for_tier(tier))
        spans = [(start / 1e3, end / 1e3, label) for start, end, label in annotations]
        same_spans(f"{name}, {tier}", wanted, spans)
        parent = document.get_parameters_for_tier(tier).get("PARENT_REF")
        above = tier.replace("word", "utterance", 1) if tier.startswith("word") else None
        report.equal(f"{name}, {tier}, parent", above, parent)
        if parent:
            around = document.get_annotation_data_for_tier(parent)
            lies = lambda start, end: any(low <= start and end <= high for low, high, _ in around)
            inside = all(lies(start, end) for start, end, _ in annotations)
            report.check(f"{name}, {tier}, nesting", inside, "every word in an utterance", spans)
    media = [(linked["MEDIA_URL"], linked["RELATIVE_MEDIA_URL"]) for linked in document.get_linked_files()]
    report.equal(f"{name}, audio", [(transcript["audio"], f"./{pathlib.PurePath(transcript['audio']).name}")], media)


def structure(name, path):
    """What the schema asks of the parts that klang writes: their order, and identifiers that are unique and found."""
    root = xml.etree.ElementTree.parse(path).getroot()
    order = ["HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE", "LANGUAGE", "CONSTRAINT"]
    report.equal(f"{name}, elements", order, [tag for tag, _ in itertools.groupby(child.tag for child in root)])
    date = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"
    report.check(f"{name}, date", re.fullmatch(date, root.get("DATE")), "an xsd:dateTime", root.get("DATE"))
    of = lambda attribute: [value for value in (element.get(attribute) for element in root.iter()) if value is not None]
    defined = sum((of(key) for key in ["TIME_SLOT_ID", "ANNOTATION_ID", "LANG_ID", "STEREOTYPE"]), [])
    for keys in [defined, of("TIER_ID"), of("LINGUISTIC_TYPE_ID")]:
        report.equal(f"{name}, unique", len(set(keys)), len(keys))
    for keys, uses in {
        "TIME_SLOT_ID": ["TIME_SLOT_REF1", "TIME_SLOT_REF2"],
        "TIER_ID": ["PARENT_REF"],
        "LINGUISTIC_TYPE_ID": ["LINGUISTIC_TYPE_REF"],
        "LANG_ID": ["LANG_REF"],
        "STEREOTYPE": ["CONSTRAINTS"],
    }.items():
        report.equal(f"{name}, references", set(), {value for use in uses for value in of(use)} - set(of(keys)))
    times = [int(value) for value in of("TIME_VALUE")]
    report.equal(f"{name}, slots", sorted(times), times)
    schema = os.environ.get("EAF_SCHEMA")
    if schema:
        from lxml import etree

        etree.XMLSchema(etree.parse(schema)).assertValid(etree.parse(str(path)))


READERS = {
    "txt": txt,
    "json": as_json,
    "srt": as_srt,
    "vtt": as_vtt,
    "ctm": ctm,
    "TextGrid": text_grid,
    "eaf": eaf,
}
