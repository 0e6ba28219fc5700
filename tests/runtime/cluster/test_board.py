"""Claims as files in a folder: each song has one owner at a time, and one end."""

from __future__ import annotations

import heapq
import os
import random
from collections import Counter

import pytest

from runtime.cluster.board import Board
from runtime.cluster.work import TRIES

LEASE = 300.0


class Simulated:
    """A clock that stands still until it is set."""

    def __init__(self):
        self.time = 1e9

    def touch(self, path):
        os.utime(path, (self.time, self.time))

    def now(self):
        return self.time

    def steady(self):
        return self.time


@pytest.fixture
def clock():
    return Simulated()


@pytest.fixture
def board(tmp_path, clock):
    return lambda name: Board(tmp_path, {"name": name}, LEASE, clock)


def test_a_song_is_claimed_by_one(board):
    a, b = board("a"), board("b")
    taken = {a.take(range(1, 4)).song, b.take(range(1, 4)).song, a.take(range(1, 4)).song}
    assert taken == {1, 2, 3} and b.take(range(1, 4)) is None and not b.is_finished(range(1, 4))


def test_what_is_finished_is_not_taken_again(board, clock):
    a, b = board("a"), board("b")
    claim = a.take([1])
    assert a.finish(claim.song, failed=False, outcome={})
    clock.time += 10 * LEASE
    assert b.take([1]) is None and b.is_finished([1])


def test_the_song_of_a_dead_owner_is_taken_over_by_one_that_of_a_living_one_is_not(board, clock):
    dead, living, third, fourth = (board(name) for name in ("dead", "living", "third", "fourth"))
    lost, kept = dead.take([1]), living.take([1, 2])
    clock.time += 0.9 * LEASE
    living.beat()
    clock.time += 0.9 * LEASE
    claim = third.take([1, 2])
    assert (claim.song, claim.tries, claim.dead) == (lost.song, 2, False) and kept.song == 2
    assert fourth.take([1, 2]) is None


def test_an_owner_that_was_only_slow_does_not_finish_it_a_second_time(board, clock):
    slow, other = board("slow"), board("other")
    slow.take([1])
    clock.time += 2 * LEASE
    other.take([1])
    assert other.finish(1, failed=False, outcome={})
    assert not slow.finish(1, failed=True, outcome={"error": "late"})
    assert slow.listing().failed == set()


def test_tries_are_counted_over_all_machines(board, clock):
    first = board("first")
    first.take([1])
    first.again(1)  # its worker died, it goes on
    clock.time += 2 * LEASE
    claim = board("second").take([1])
    assert (claim.tries, claim.dead) == (TRIES, False)
    clock.time += 2 * LEASE
    third, fourth = board("third"), board("fourth")
    assert third.take([1]).dead and fourth.take([1]).dead
    assert third.finish(1, True, {"error": "why"}) and not fourth.finish(1, True, {"error": "why"})
    assert fourth.reason(1) == "why" and fourth.listing().failed == {1}


def test_what_is_given_back_is_free_at_once_and_cost_no_try(board):
    a = board("a")
    a.take([1])
    a.give_back()
    assert board("b").take([1]).tries == 1


@pytest.mark.seconds
@pytest.mark.parametrize(("number", "size"), [(2000, 16), pytest.param(10_000, 64, marks=pytest.mark.slow)])
def test_songs_on_many_workers_that_die_are_each_finished_once(tmp_path, board, clock, number, size):
    rng = random.Random(0)
    songs = range(1, number + 1)
    poison = set(rng.sample(songs, number // 500))
    finished, failed = Counter(), Counter()
    workers = [board(f"0-{i}") for i in range(size * 3 // 4)]
    events = [(clock.time + rng.uniform(0, 30), i, "start", 0) for i in range(size * 3 // 4)]
    events += [(clock.time + 500.0, i, "start", 0) for i in range(size * 3 // 4, size)]  # these join late
    workers += [board(f"0-{i}") for i in range(size * 3 // 4, size)]
    heapq.heapify(events)
    beat, deaths = clock.time, 0
    while events:
        clock.time, i, what, song = heapq.heappop(events)
        while beat < clock.time:
            beat += LEASE / 5
            for worker in workers:
                if worker is not None:
                    worker.beat()
        if what == "end" and (song in poison or rng.random() < 0.01):
            workers[i], deaths = None, deaths + 1
            heapq.heappush(events, (clock.time + rng.uniform(10, 1000), i, "reborn", 0))
            continue
        if what == "end":
            finished[song] += workers[i].finish(song, failed=False, outcome={})
        elif what == "reborn":
            workers[i] = board(f"{deaths}-{i}")
        claim = workers[i].take(songs)
        if claim is None:
            if not workers[i].is_finished(songs):
                heapq.heappush(events, (clock.time + 60, i, "start", 0))
        elif claim.dead:
            failed[claim.song] += workers[i].finish(claim.song, True, {"error": "died"})
            heapq.heappush(events, (clock.time, i, "start", 0))
        else:
            heapq.heappush(events, (clock.time + rng.uniform(10, 50), i, "end", claim.song))
    assert deaths > number / 100 and set(failed) >= poison
    assert sorted([*finished.elements(), *failed.elements()]) == list(songs)
    assert not list(tmp_path.glob(".bsm-*"))
    assert board("x").listing().failed == set(failed)
