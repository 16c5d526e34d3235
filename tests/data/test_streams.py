"""The random streams against the published generator, computed in plain Python integers."""

import itertools

import pytest

from lgbench.data.task import SCALAR_CHUNK, Stream
from tests.philox import philox_block, philox_words

ONES = 2**64 - 1
# Known answers of the authors' Random123 library for philox4x64 with 10 rounds: counter, key, block.
KNOWN_ANSWERS = (
    ((0, 0, 0, 0), (0, 0), (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B)),
    ((ONES,) * 4, (ONES,) * 2, (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0)),
    (
        (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89),
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6),
    ),
)
KEYS = ("lgbench/mini-v1/test/reverse_add/1/8", "lgbench/mini-v1/test/reverse_add/1/10", "", "ü/1")


def oracle_words(key: str, count: int) -> list[int]:
    return list(itertools.islice(philox_words(key), count))


@pytest.mark.parametrize(("counter", "key", "block"), KNOWN_ANSWERS)
def test_the_oracle_gives_the_published_answers(
    counter: tuple[int, int, int, int], key: tuple[int, int], block: tuple[int, int, int, int]
) -> None:
    assert philox_block(counter, key) == block


@pytest.mark.parametrize("key", KEYS)
def test_words_are_those_of_the_published_generator_however_they_are_asked_for(key: str) -> None:
    stream = Stream(key)
    drawn = [word for count in (1, 2, 3, 0, 5, 100) for word in stream.words(count).tolist()]
    assert drawn == oracle_words(key, 111)


def test_key_parts_are_joined_by_slashes() -> None:
    assert Stream("lgbench", "mini-v1", 3).words(4).tolist() == oracle_words("lgbench/mini-v1/3", 4)


def test_adjacent_keys_share_no_words() -> None:
    words = [word for number in range(50) for word in Stream("block", number).words(200).tolist()]
    assert len(set(words)) == len(words)


def test_bounded_draws_are_remainders_of_words() -> None:
    words = oracle_words("bounds", 40)
    stream = Stream("bounds")
    assert stream.below(52, 20).tolist() == [word % 52 for word in words[:20]]
    assert stream.below(10, 20).tolist() == [word % 10 for word in words[20:]]


@pytest.mark.parametrize("bound", [None, 12])
def test_words_one_by_one_are_the_same_words(bound: int | None) -> None:
    words = oracle_words("scalars", SCALAR_CHUNK + 8)
    drawn = list(itertools.islice(Stream("scalars").one_by_one(bound), SCALAR_CHUNK + 8))
    assert drawn == [word if bound is None else word % bound for word in words]


def test_two_iterators_take_turns_by_chunk() -> None:
    words = oracle_words("scalars", 2 * SCALAR_CHUNK + 1)
    stream = Stream("scalars")
    first, second = stream.one_by_one(), stream.one_by_one()
    drawn = [next(first), next(second), next(first), next(second)]
    assert drawn == [words[0], words[SCALAR_CHUNK], words[1], words[SCALAR_CHUNK + 1]]
    assert stream.words(1).tolist() == [words[2 * SCALAR_CHUNK]]


def test_a_permutation_is_the_sorting_order_of_words() -> None:
    words = oracle_words("order", 30)
    assert Stream("order").permutation(30).tolist() == sorted(range(30), key=lambda place: words[place])
