"""Versions that come with a call, from an earlier result: they save a look where the tenant knows them, and no more."""

from __future__ import annotations

from typing import Any

import pytest
from front_process import IN_PLACE, SAXPY, FrontProcess, HttpClient
from test_front_freshness import Calls, front, loaded, put_x, short, stats_of

__all__ = ["front"]

MIDDLE = "s3://data/middle.npy"

#: A second action in a sequence: x is what the first one wrote.
NEXT: dict[str, Any] = {"x": MIDDLE, "y": [1.0, 1.0], "z": "inline"}


def first(client: HttpClient, *values: float) -> dict[str, Any]:
    """Write MIDDLE through the pool; the result that a sequence hands on."""
    reply = Calls(client, SAXPY, {"x": list(values), "y": [0.0] * len(values), "z": MIDDLE, "a": 1})()
    assert reply.body["state"] == "done", reply
    result: dict[str, Any] = reply.body["result"]
    return result


def following(client: HttpClient, kaas: object, **more: Any) -> dict[str, Any]:
    """Run the second action on what was handed on; its statistics."""
    return Calls(client, SAXPY, {**NEXT, "kaas": kaas, **more}).done()


def claim(etag: str, reference: str = MIDDLE) -> dict[str, Any]:
    """What a result would say of an output with this etag."""
    return {"outputs": {"z": {"ref": reference, "etag": etag}}}


def test_what_this_tenant_wrote_is_not_looked_at_again(front: FrontProcess) -> None:
    result = first(front.client(), 1, 2)
    following(front.client(), result["kaas"])
    assert stats_of(front) == 0
    assert loaded(front) == [result["kaas"]["outputs"]["z"]["etag"]]


def test_the_name_does_not_matter_and_the_reference_does(front: FrontProcess) -> None:
    result = first(front.client(), 1, 2)
    etag = result["kaas"]["outputs"]["z"]["etag"]
    following(front.client(), {"outputs": {"another": {"ref": MIDDLE, "etag": etag}}})
    assert stats_of(front) == 0
    put_x(front, 3, 4)
    following(front.client(), claim(etag, MIDDLE), x="s3://data/x.npy")
    assert stats_of(front) == 1


def test_a_version_read_through_the_pool_is_known_too(front: FrontProcess) -> None:
    etag = put_x(front, 1, 2)
    following(front.client(), None, x="s3://data/x.npy")
    following(front.client(), claim(etag, "s3://data/x.npy"), x="s3://data/x.npy")
    assert stats_of(front) == 1


def test_without_it_the_store_is_asked(front: FrontProcess) -> None:
    first(front.client(), 1, 2)
    following(front.client(), None)
    assert stats_of(front) == 1


@pytest.mark.parametrize("etag", ["", "forged", "*", "x" * 5000])
def test_a_forged_etag_gives_nothing(front: FrontProcess, etag: str) -> None:
    result = first(front.client(), 1, 2)
    following(front.client(), claim(etag))
    assert stats_of(front) == 1
    assert loaded(front) == [result["kaas"]["outputs"]["z"]["etag"]], "the version that the store named"


def test_anothers_version_is_checked_under_ones_own_rights(front: FrontProcess) -> None:
    result = first(front.client(), 1, 2)
    bob = front.client("bob-token")
    following(bob, result["kaas"])
    assert stats_of(front) == 1
    assert loaded(front) == [result["kaas"]["outputs"]["z"]["etag"]], "and it does not come from the other's device"


def test_a_stale_etag_does_not_bring_old_data_back(front: FrontProcess) -> None:
    old, new = first(front.client(), 1, 2), first(front.client(), 3, 4)
    following(front.client(), old["kaas"])
    assert (stats_of(front), loaded(front)) == (1, [new["kaas"]["outputs"]["z"]["etag"]])


def test_what_was_overwritten_behind_the_pool_is_looked_for_again(front: FrontProcess) -> None:
    result = first(front.client(), 1, 2)
    old = result["kaas"]["outputs"]["z"]["etag"]
    new = front.mover.put("data", "middle.npy", front.mover.objects["data", "middle.npy"].data)
    following(front.client(), result["kaas"])
    assert (stats_of(front), [frame["object"]["etag"] for frame in front.mover.of("load")]) == (1, [old, new])


@short
def test_a_right_is_not_believed_for_ever(front: FrontProcess) -> None:
    result = first(front.client(), 1, 2)
    call = Calls(front.client(), SAXPY, {**NEXT, "kaas": result["kaas"]})
    front.mover.script = lambda peer, frame: frame["type"] == "stat" and peer.refuse(frame, "object_forbidden")
    assert call.until("object_forbidden").status == 403


@pytest.mark.parametrize(
    "kaas",
    [
        [],
        "text",
        {"outputs": []},
        {"outputs": {"z": None, "y": [], "x": {"ref": 1, "etag": 2}, "w": {"ref": "no reference", "etag": "e"}}},
        {"outputs": {"z": {"ref": MIDDLE}}},
    ],
)
def test_what_makes_no_sense_is_passed_over(front: FrontProcess, kaas: object) -> None:
    first(front.client(), 1, 2)
    following(front.client(), kaas)
    assert stats_of(front) == 1


def test_in_place_is_the_newest_whatever_is_handed_on(front: FrontProcess) -> None:
    result = first(front.client(), 1, 2)
    call = {"x": MIDDLE, "w": "s3://data/w.npy", "kaas": result["kaas"]}
    Calls(front.client(), IN_PLACE, call).done()
    assert stats_of(front) == 1
