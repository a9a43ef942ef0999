"""Pinned references and recent sightings: who keeps what, and until when."""

from __future__ import annotations

from kaas_pool.front.pins import PinFilter, PinKey, Pins, object_id_of
from kaas_pool.front.sightings import NEVER, Answer, Recent

ONE, TWO = Answer("one", 4, "aGVhZA==", "store"), Answer("two", 8, "aGVhZA==", "store")


def key(buffer: str = "w", reference: str = "s3://data/w", tenant: str = "alice", digest: str = "sha256:0") -> PinKey:
    return PinKey(tenant, digest, buffer, reference)


def test_a_pin_is_good_while_the_right_to_it_is() -> None:
    pins = Pins()
    pin = pins.add(key(), ONE, 100.0)
    assert pins.find(key()) is pin
    assert pin.is_younger(300, 399.9)
    assert not pin.is_younger(300, 400.0)
    pin.confirm(200.0, "store")
    assert pin.is_younger(300, 400.0)
    pin.confirm(150.0, "store")
    assert pin.at == 200.0, "an answer that was long under way confirms nothing newer"
    pin.confirm(300.0, "moved")
    assert (pin.answer.etag, pin.answer.origin) == ("one", "moved")


def test_pins_of_an_earlier_front_are_not_confirmed() -> None:
    pins = Pins()
    pins.restore(key(), ONE)
    pin = pins.find(key())
    assert pin is not None
    assert pin.answer == ONE
    assert not pin.is_younger(1e9, 0.0)


def test_refreshing_lets_go_of_exactly_what_is_meant() -> None:
    every = [
        key("w", "s3://data/w"),
        key("v", "s3://data/w"),
        key("w", "s3://data/w?offset=0&size=4"),
        key("w", "s3://data/other"),
        key("w", "s3://data/w", digest="sha256:1"),
        key("w", "s3://data/w", tenant="bob"),
    ]
    expected = {
        PinFilter(): {0, 1, 2, 3, 4},
        PinFilter(digest="sha256:1"): {4},
        PinFilter(buffer="v"): {1},
        PinFilter(reference="s3://data/w"): {0, 1, 2, 4},
        PinFilter(reference="s3://data/w?offset=0&size=4"): {2},
        PinFilter(digest="sha256:0", buffer="w", reference="s3://data/w"): {0, 2},
        PinFilter(buffer="x"): set(),
        PinFilter(reference="nonsense"): set(),
    }
    for which, gone in expected.items():
        pins = Pins()
        made = [pins.add(one, ONE, 0.0) for one in every]
        generations = pins.generation("alice"), pins.generation("bob")
        assert pins.forget("alice", which) == {every[index]: ONE for index in gone}
        assert [one for one in every if pins.find(one) is None] == [every[index] for index in sorted(gone)]
        assert {index for index, pin in enumerate(made) if pin.at == NEVER} == gone, "who holds one notices"
        assert pins.generation("alice") != generations[0]
        assert pins.generation("bob") == generations[1], "another tenant's questions stay good"


def test_doubt_reaches_all_pins_of_the_object_and_no_others() -> None:
    pins = Pins()
    meant = [pins.add(one, ONE, 5.0) for one in (key(), key(reference="s3://data/w?offset=4"), key("v"))]
    others = [pins.add(one, ONE, 5.0) for one in (key(reference="s3://data/x"), key(tenant="bob"))]
    pins.doubt("alice", "s3://data/w")
    pins.doubt("nobody", "s3://data/w")
    assert [pin.at for pin in meant] == [NEVER] * 3
    assert [pin.at for pin in others] == [5.0] * 2
    assert pins.find(key()) is meant[0], "the version stays pinned"


def test_a_tenant_with_too_many_pins_loses_its_own_that_are_used_least() -> None:
    pins = Pins(per_tenant=3)
    mine = [key(reference=f"s3://data/{index}") for index in range(5)]
    pins.add(key(tenant="bob"), ONE, 0.0)
    for one in mine[:4]:
        pins.add(one, ONE, 0.0)
    pins.find(mine[0])
    pins.add(mine[4], ONE, 0.0)
    assert pins.overdue("alice") == [mine[1], mine[2]]
    assert pins.overdue("alice") == []
    assert pins.overdue("bob") == []
    assert pins.find(key(tenant="bob")) is not None
    pins.remove(mine[0])
    pins.remove(mine[0])
    assert pins.find(mine[0]) is None


def test_the_object_behind_a_reference() -> None:
    assert object_id_of("s3://data/w?offset=3&size=4") == "s3://data/w"
    assert object_id_of("s3://data/w?versionId=v&offset=3") == "s3://data/w?versionId=v"
    assert object_id_of("no reference") == "no reference"


def test_recent_sightings() -> None:
    recent = Recent()
    first = recent.note("alice", "s3://data/x", ONE, 10.0)
    assert recent.note("alice", "s3://data/x", ONE, 20.0) is first
    assert first.at == 20.0
    second = recent.note("alice", "s3://data/x", TWO, 30.0)
    assert recent.find("alice", "s3://data/x") is second
    assert first.at == NEVER, "what was computed from the old version is not repeated"
    assert recent.find("bob", "s3://data/x") is None
    other = recent.note("alice", "s3://data/y", ONE, 30.0)
    bobs = recent.note("bob", "s3://data/x", ONE, 30.0)
    recent.forget("alice", "s3://data/x")
    recent.forget("alice", "s3://data/nothing")
    assert (second.at, other.at, bobs.at) == (NEVER, 30.0, 30.0)
    recent.forget("alice")
    assert (other.at, bobs.at) == (NEVER, 30.0)
    assert len(recent) == 1


def test_a_look_that_was_long_under_way_replaces_nothing_newer() -> None:
    recent = Recent()
    newer = recent.note("alice", "s3://data/x", TWO, 20.0)
    late = recent.note("alice", "s3://data/x", ONE, 10.0)
    assert (late.answer, late.at) == (ONE, NEVER), "who looked has its answer, and looks again the next time"
    assert recent.find("alice", "s3://data/x") is newer
    assert (newer.answer, newer.at) == (TWO, 20.0)
    assert recent.note("alice", "s3://data/x", ONE, 20.0) is recent.find("alice", "s3://data/x")
    assert len(recent) == 1


def test_recent_sightings_are_bounded_in_bytes() -> None:
    recent = Recent(limit_bytes=10_000)
    large = Answer("e", 1 << 30, "x" * 4000, "store")
    for index in range(5):
        recent.note("alice", f"s3://data/{index}", large, 0.0)
    assert len(recent) == 2
    assert recent.find("alice", "s3://data/4") is not None
    recent.note("alice", "s3://data/huge", Answer("e", 1, "x" * 40_000, "store"), 0.0)
    assert len(recent) == 1, "what was noted last is kept, however large"
    recent.forget("alice")
    for index in range(5):
        recent.note("alice", f"s3://data/{index}", large, 0.0)
    assert len(recent) == 2, "the account is right after all of that"
