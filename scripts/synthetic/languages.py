"""What espeak-ng can do with a language and its text."""

import collections
import hashlib
import random

from .text import gather_text, letters
from .voices import NotSpoken, espeak, switches_language

LEFT_OUT = {
    "chr": "espeak-ng reads only a Latin transcription of it, of which there is no text",
    "cmn": "espeak-ng spells its characters by English names of letters; cmn-latn-pinyin reads the same text properly",
    "fa-latn": "speaks as fa does",
    "he": "espeak-ng speaks consonants alone where the vowels are not pointed",
    "kok": "espeak-ng names its vowel signs in place of speaking them",
    "yue-latn-jyutping": "speaks as yue does",
}

Language = collections.namedtuple("Language", "voice text numbers pace digit_pace")


def prepare(voice, archive):
    """The language with what was found out about it, or the reason why it must be left out."""
    if voice.language in LEFT_OUT:
        return LEFT_OUT[voice.language]
    text = gather_text(archive, voice.language)
    numerals = "27, 3, 148"
    try:
        _, digits_seconds, phonemes = espeak(voice, "m1", numerals)
        # English digits are what data/digits tests.
        numbers = bool(phonemes.strip()) and not switches_language(phonemes, voice.language)
        numbers = numbers and voice.language.partition("-")[0] != "en"
    except NotSpoken:
        digits_seconds, numbers = 1.0, False
    if not text.sources and not numbers:
        return "no text, and espeak-ng reads no numbers in it"
    source, reason = random.Random(f"pace/{voice.language}"), "no text"
    digit_pace = 6 / max(digits_seconds - 0.6, 0.5)
    if not text.sources:
        return Language(voice, text, numbers, 1.0, digit_pace)
    for _ in range(8):
        stock = text.running or text.names
        start, sample = source.randrange(len(stock)), ""
        while len(letters(sample)) < 80:
            sample += stock[start % len(stock)] + " "
            start += 1
        try:
            wavs = [espeak(voice, variant, sample) for variant in ("m1", "f2")]
        except NotSpoken as error:
            reason = str(error)
            continue
        if hashlib.sha256(wavs[0][0]).digest() == hashlib.sha256(wavs[1][0]).digest():
            return "espeak-ng ignores variants of this voice"
        pace = len(letters(sample)) / max(wavs[0][1] - 0.4, 0.5)
        return Language(voice, text, numbers, pace, digit_pace)
    return reason
