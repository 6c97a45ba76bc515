"""Finds the changes of a history that are like a requirement: by their words, weighted by how rare each is.

Two figures, each from 0 to 1, make the score:

- similarity, the cosine between both texts as TF-IDF vectors: a word counts 1 + log(how often it is in the text), times
  1 + log(changes / changes that have the word). Long and short texts compare, since vectors have length 1.
- keywords, the share of the requirement's keywords that the change has, each counted by how rare it is. Keywords
  are the requirement's heaviest words, 20 at most. One that no change has counts too, as the rarest.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass

from changes import History

SIMILARITY_SHARE = 0.6  # of the score; the rest is the keywords'
MOST_KEYWORDS = 20
# A change with less than that has no more than common words with a requirement.
LEAST_SHARED = 2
LEAST_SCORE = 0.15
WORD = re.compile(r"-*[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
STOP_WORDS = frozenset(
    """a about add added all also an and any are as at be been but by can could do does for from had has have how if in
    into is it its like likewise make may more must need new not now of on one only or other our out set shall should so
    some such support than that the their them then there these they this to up use used user users using want was were
    what when where which while who will with would you your""".split()
)


class NoMatchesFoundError(ValueError):
    """Nothing in the history is like the requirement."""


@dataclass
class Match:
    number: int  # of the change
    score: float
    similarity: float
    keywords: float
    shared: list[str]  # keywords that both have, the rarest first


def words_of(text: str) -> list[str]:
    """Its words in small letters, without endings; `parse_size` also as `parse` and `size`, `-delete` also without dash."""
    found = []
    for word in WORD.findall(text.lower()):
        parts = [word, *re.split(r"[-_]+", word.strip("-"))] if re.search("[-_]", word) else [word]
        found += [_stem(part) for part in dict.fromkeys(parts) if len(part) > 1 and part not in STOP_WORDS]
    return found


class Index:
    def __init__(self, history: History) -> None:
        texts = {change.number: Counter(words_of(f"{change.summary}\n{change.text}")) for change in history.changes}
        known = Counter(word for counts in texts.values() for word in counts)
        self.rarity = {word: 1 + math.log(len(texts) / count) for word, count in known.items()}
        self._rarest = 1 + math.log(len(texts))  # of a word that no change has
        self._vectors = {number: self._vector(counts) for number, counts in texts.items()}

    def keywords(self, text: str) -> list[str]:
        """The heaviest words of a text, the heaviest first."""
        weights = self._vector(Counter(words_of(text)))
        return sorted(weights, key=lambda word: (-weights[word], word))[:MOST_KEYWORDS]

    def find(self, text: str, most: int = 50) -> list[Match]:
        """What is like a text, the likest first. Errors: NoMatchesFoundError."""
        asked = self._vector(Counter(words_of(text)))
        keywords = self.keywords(text)
        whole = sum(self._rarity_of(word) for word in keywords)
        matches = []
        for number, vector in self._vectors.items():
            similarity = sum(weight * vector[word] for word, weight in asked.items() if word in vector)
            if not similarity:
                continue
            shared = sorted((word for word in keywords if word in vector), key=lambda word: -self._rarity_of(word))
            share = sum(map(self._rarity_of, shared)) / whole
            score = SIMILARITY_SHARE * similarity + (1 - SIMILARITY_SHARE) * share
            if len(shared) >= LEAST_SHARED and score >= LEAST_SCORE:
                matches.append(Match(number, round(score, 4), round(similarity, 4), round(share, 4), shared))
        if not matches:
            said = ", ".join(dict.fromkeys(word for word in WORD.findall(text.lower()) if word not in STOP_WORDS))
            raise NoMatchesFoundError(f"none of {len(self._vectors)} changes is like this requirement: {said or 'no word'}")
        return sorted(matches, key=lambda match: (-match.score, -match.number))[:most]

    def _rarity_of(self, word: str) -> float:
        return self.rarity.get(word, self._rarest)

    def _vector(self, counts: Counter[str]) -> dict[str, float]:
        weights = {word: (1 + math.log(n)) * self._rarity_of(word) for word, n in counts.items()}
        length = math.sqrt(sum(weight * weight for weight in weights.values()))
        return {word: weight / length for word, weight in weights.items()}


def select(matches: list[Match], most: int = 10) -> list[Match]:
    """Those worth building on: at least half as good as the best."""
    return [match for match in matches[:most] if 2 * match.score >= matches[0].score]


def _stem(word: str) -> str:
    """Without the endings of English: files, filed and filing are one word."""
    for ending, least in (("ies", 5), ("ing", 6), ("ed", 5), ("es", 5), ("s", 4)):
        if word.endswith(ending) and len(word) >= least and not word.endswith("ss"):
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word.removesuffix("e") if len(word) > 3 else word
