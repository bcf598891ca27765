"""What is committed on Kafka, and which worker gets which partition."""

from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as some

from horae.queues.kafka.assignor import shared_out
from horae.queues.kafka.progress import Progress

TOPICS = ("high", "low", "normal")
ALL = [TopicPartition(topic, number) for topic in TOPICS for number in range(12)]


def test_what_is_done_after_a_gap_waits_for_the_gap() -> None:
    progress = Progress(10)
    assert [progress.hand_out(offset) for offset in (10, 11, 12)] == [True] * 3
    progress.finish(11)
    progress.finish(12)
    assert progress.done_before == 10
    progress.finish(10)
    assert progress.done_before == 13
    assert not progress.holds


def test_what_was_handed_out_is_not_handed_out_again() -> None:
    progress = Progress(0)
    assert progress.hand_out(0)
    assert not progress.hand_out(0), "a rebalance made Kafka send it again"
    assert progress.hand_out(5), "offsets may leave some out"
    progress.finish(0)
    progress.finish(0)
    assert progress.done_before == 5


@given(order=some.permutations(range(20)))
def test_the_offset_never_goes_back_and_nothing_open_is_before_it(order: list[int]) -> None:
    progress = Progress(0)
    for offset in range(20):
        progress.hand_out(offset)
    left, last = set(range(20)), 0
    for offset in order:
        progress.finish(offset)
        left.discard(offset)
        assert last <= progress.done_before == min(left, default=20)
        last = progress.done_before


@given(members=some.integers(1, 15), data=some.data())
def test_partitions_are_shared_evenly_and_what_is_held_stays(members: int, data: some.DataObject) -> None:
    names = [f"m{number:02}" for number in range(members)]
    owner = data.draw(some.dictionaries(some.sampled_from(ALL), some.sampled_from(names), max_size=4))
    given = shared_out(ALL, {name: [one for one, its in owner.items() if its == name] for name in names})
    assert sorted(one for own in given.values() for one in own) == ALL, "each to one member"
    assert all(one in given[name] for one, name in owner.items())
    sizes = [len(own) for own in given.values()]
    if not owner:
        assert max(sizes) - min(sizes) <= 1
        for topic in TOPICS:
            counts = [sum(one.topic == topic for one in own) for own in given.values()]
            assert max(counts) - min(counts) <= 1
