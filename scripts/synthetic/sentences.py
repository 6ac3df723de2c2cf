"""Sentences that are drawn of a language's text, of about the wanted length."""

from .text import SENTENCE_MARKS, letters

RUNNING_TEXT, NUMBER, QUESTION, COMMA = 0.6, 0.12, 0.15, 0.25  # probabilities


def draw_number(source):
    return str(source.randrange(10 ** source.choice([1, 2, 2, 3, 3, 4, 4, 6])))


def seconds_of(language, piece):
    return len(piece) / language.digit_pace if piece.isdigit() else len(letters(piece)) / language.pace


def draw_sentence(source, language, seconds):
    """A stretch of running text, or 3 to 9 names and numbers, of about so many seconds at the usual rate."""
    names, running = language.text.names, language.text.running
    pieces, total = [], 0.0
    if running and (not names or source.random() < RUNNING_TEXT):
        start = source.randrange(len(running))
        while total < seconds:
            pieces.append(running[(start + len(pieces)) % len(running)])
            total += seconds_of(language, pieces[-1])
        sentence = " ".join(pieces)
    else:
        while len(pieces) < 3 or (total < seconds and len(pieces) < 9):
            number = language.numbers and (not names or source.random() < NUMBER)
            pieces.append(draw_number(source) if number else source.choice(names))
            total += seconds_of(language, pieces[-1])
        sentence = pieces[0]
        for before, piece in zip(pieces, pieces[1:], strict=False):
            both_numbers = before.isdigit() and piece.isdigit()  # which without a comma would be read as one
            sentence += (", " if source.random() < COMMA or both_numbers else " ") + piece
    return sentence.rstrip(SENTENCE_MARKS + " ") + ("?" if source.random() < QUESTION else ".")
