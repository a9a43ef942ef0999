"""The host tier's decisions, one by one."""

from __future__ import annotations

from kaas.errors import PlatformError
from kaas_pool.content import ObjectRange
from kaas_pool.mover.decisions import AbortLoad, Create, Decision, Free, Grant, Keep, Refuse, Request, StartLoad
from kaas_pool.mover.host_tier import PAGE_BYTES, HostTier, charged_bytes

ONE, TWO, THREE = Request(1, 1), Request(1, 2), Request(2, 3)
FAILURE = PlatformError("store_error", "broken")


def item(size: int = PAGE_BYTES) -> ObjectRange:
    return ObjectRange("s3", "b", "k", "etag", None, 0, size)


def tier(pages: int = 4, segments: int = 100) -> HostTier:
    return HostTier(pages * PAGE_BYTES, segments, "boot")


def load(host: HostTier, request: Request, key: str = "k", pages: int = 1, tenant: str = "t") -> list[Decision]:
    decisions = host.load(request, tenant, "d", key, item(pages * PAGE_BYTES))
    host.check()
    return decisions


def refusals(decisions: list[Decision]) -> list[tuple[Request, str]]:
    return [(d.request, d.error.code) for d in decisions if isinstance(d, Refuse)]


def test_sizes_are_charged_in_whole_pages() -> None:
    assert [charged_bytes(size) for size in (0, 1, PAGE_BYTES, PAGE_BYTES + 1)] == [
        PAGE_BYTES,
        PAGE_BYTES,
        PAGE_BYTES,
        2 * PAGE_BYTES,
    ]


def test_a_miss_creates_loads_and_is_granted() -> None:
    host = tier()
    assert load(host, ONE) == [Create("boot-1", PAGE_BYTES, False), StartLoad("boot-1", "t", item())]
    assert host.loaded("boot-1") == [Grant(ONE, "boot-1", PAGE_BYTES, "store")]


def test_a_hit_is_granted_at_once() -> None:
    host = tier()
    load(host, ONE)
    host.loaded("boot-1")
    assert load(host, TWO) == [Grant(TWO, "boot-1", PAGE_BYTES, "host")]
    assert (host.counts.hits, host.counts.misses) == (1, 1)


def test_loads_of_one_key_are_done_once() -> None:
    host = tier()
    load(host, ONE)
    assert load(host, TWO) == [] == load(host, THREE)
    assert host.loaded("boot-1") == [
        Grant(ONE, "boot-1", PAGE_BYTES, "store"),
        Grant(TWO, "boot-1", PAGE_BYTES, "host"),
        Grant(THREE, "boot-1", PAGE_BYTES, "host"),
    ]


def test_domains_share_nothing() -> None:
    host = tier()
    load(host, ONE)
    host.loaded("boot-1")
    decisions = host.load(TWO, "t", "other", "k", item())
    assert StartLoad("boot-2", "t", item()) in decisions


def test_the_least_recently_used_goes_first() -> None:
    host = tier(pages=2)
    for request, key in ((ONE, "a"), (TWO, "b")):
        load(host, request, key)
        host.loaded(f"boot-{request.id}")
    host.release(1, ["boot-1", "boot-2"])
    load(host, Request(1, 4), "a")  # used again
    host.release(1, ["boot-1"])
    assert load(host, Request(1, 5), "c")[0] == Keep("boot-2")


def test_what_is_leased_stays_and_the_next_waits() -> None:
    host = tier(pages=2)
    load(host, ONE, "a", pages=2)
    host.loaded("boot-1")
    assert load(host, THREE, "b") == []
    assert host.release(1, ["boot-1"]) == [
        Keep("boot-1"),
        Free("boot-1"),
        Create("boot-2", PAGE_BYTES, False),
        StartLoad("boot-2", "t", item()),
    ]


def test_a_large_request_is_not_starved_by_small_ones() -> None:
    host = tier(pages=2)
    load(host, ONE, "a")
    host.loaded("boot-1")
    assert load(host, TWO, "large", pages=2) == []
    assert load(host, THREE, "small") == []
    decisions = host.release(1, ["boot-1"])
    assert [d.segment for d in decisions if isinstance(d, Create)] == ["boot-2"]


def test_each_lease_is_released_by_itself() -> None:
    host = tier(pages=1)
    load(host, ONE)
    host.loaded("boot-1")
    load(host, TWO)
    load(host, THREE, "other")
    assert host.release(1, ["boot-1"]) == []
    assert host.release(2, ["boot-1"]) == []  # not its lease
    assert Keep("boot-1") in host.release(1, ["boot-1"])


def test_what_can_never_fit_is_refused() -> None:
    host = tier(pages=2)
    assert refusals(load(host, ONE, pages=3)) == [(ONE, "host_out_of_memory")]
    assert refusals(host.alloc(TWO, "d", 3 * PAGE_BYTES)) == [(TWO, "host_out_of_memory")]
    host.check()


def test_the_number_of_segments_is_bounded_too() -> None:
    host = tier(segments=1)
    load(host, ONE, "a")
    host.loaded("boot-1")
    assert load(host, TWO, "b") == []
    assert Keep("boot-1") in host.release(1, ["boot-1"])


def test_a_failure_is_everyones_who_asked_under_those_rights() -> None:
    host = tier()
    load(host, ONE, tenant="t")
    load(host, TWO, tenant="t")
    load(host, THREE, tenant="other")
    decisions = host.load_failed("boot-1", FAILURE)
    assert decisions == [Refuse(ONE, FAILURE), Refuse(TWO, FAILURE), StartLoad("boot-1", "other", item())]
    host.check()
    assert host.loaded("boot-1") == [Grant(THREE, "boot-1", PAGE_BYTES, "store")]


def test_after_a_failure_nothing_is_left() -> None:
    host = tier()
    load(host, ONE)
    assert host.load_failed("boot-1", FAILURE) == [Refuse(ONE, FAILURE), Keep("boot-1")]
    assert host.used_bytes == host.spare_bytes == PAGE_BYTES


def test_the_last_one_to_cancel_aborts_the_load() -> None:
    host = tier()
    load(host, ONE)
    load(host, TWO)
    assert refusals(host.cancel(ONE)) == [(ONE, "cancelled")]
    decisions = host.cancel(TWO)
    assert refusals(decisions) == [(TWO, "cancelled")] and decisions[1:] == [AbortLoad("boot-1")]
    host.check()
    assert host.load_failed("boot-1", None) == [Keep("boot-1")]


def test_who_comes_while_a_load_is_aborted_starts_it_again() -> None:
    host = tier()
    load(host, ONE)
    host.cancel(ONE)
    assert load(host, TWO) == []
    assert host.load_failed("boot-1", None) == [StartLoad("boot-1", "t", item())]
    assert host.loaded("boot-1") == [Grant(TWO, "boot-1", PAGE_BYTES, "store")]


def test_a_load_that_was_faster_than_its_abort_is_kept() -> None:
    host = tier()
    load(host, ONE)
    host.cancel(ONE)
    assert host.loaded("boot-1") == []
    assert load(host, TWO) == [Grant(TWO, "boot-1", PAGE_BYTES, "host")]


def test_cancel_takes_a_request_out_of_the_queue() -> None:
    host = tier(pages=1)
    load(host, ONE, "a")
    host.loaded("boot-1")
    load(host, TWO, "b")
    assert refusals(host.cancel(TWO)) == [(TWO, "cancelled")]
    host.check()
    assert host.cancel(TWO) == [] == host.cancel(ONE)


def test_a_result_goes_with_its_last_lease_but_not_under_a_store() -> None:
    host = tier()
    assert host.alloc(ONE, "d", 10) == [Create("boot-1", 10, True), Grant(ONE, "boot-1", 10, None)]
    assert not host.hold(2, "boot-1")
    assert host.hold(1, "boot-1")
    assert host.gone(1) == []
    host.check()
    assert host.unhold("boot-1") == [Free("boot-1")]


def test_inputs_cannot_be_stored() -> None:
    host = tier()
    load(host, ONE)
    host.loaded("boot-1")
    assert not host.hold(1, "boot-1")


def test_who_is_gone_leases_and_waits_no_more() -> None:
    host = tier(pages=2)
    load(host, ONE, "a")
    host.loaded("boot-1")
    load(host, TWO, "b")
    load(host, THREE, "c")
    assert host.gone(1) == [
        AbortLoad("boot-2"),
        Free("boot-1"),
        Create("boot-3", PAGE_BYTES, False),
        StartLoad("boot-3", "t", item()),
    ]
    host.check()


def test_purge_drops_a_domains_idle_inputs_only() -> None:
    host = tier()
    for request, domain in ((ONE, "d"), (TWO, "d"), (THREE, "other")):
        host.load(request, "t", domain, f"k{request.id}", item())
        host.loaded(f"boot-{request.id}")
    host.release(1, ["boot-1"])
    host.release(2, ["boot-3"])
    assert host.purge("d") == (PAGE_BYTES, [Free("boot-1")])
    host.check()


def result(host: HostTier, request: Request, domain: str = "d", pages: int = 1) -> Decision:
    """The creation of a result that finds room at once."""
    created, granted = host.alloc(request, domain, pages * PAGE_BYTES)
    assert isinstance(granted, Grant)
    host.check()
    return created


def test_memory_serves_again_for_the_same_domain_kind_and_size() -> None:
    host = tier(pages=20)
    result(host, ONE, pages=4)
    assert host.release(1, ["boot-1"]) == [Keep("boot-1")]
    assert result(host, TWO, "other", pages=4) == Create("boot-2", 4 * PAGE_BYTES, True)
    assert load(host, THREE, pages=4)[0] == Create("boot-3", 4 * PAGE_BYTES, False)
    assert result(host, Request(1, 9), pages=2) == Create("boot-4", 2 * PAGE_BYTES, True)
    assert result(host, Request(1, 10), pages=4) == Create("boot-5", 4 * PAGE_BYTES, True, spare="boot-1")
    assert host.spare_bytes == 0 and host.counts.reused == 1


def test_the_smallest_spare_that_serves_is_taken() -> None:
    host = tier(pages=20)
    for number, pages in ((1, 5), (2, 4)):
        result(host, Request(1, number), pages=pages)
    host.release(1, ["boot-1", "boot-2"])
    assert result(host, THREE, pages=4) == Create("boot-3", 4 * PAGE_BYTES, True, spare="boot-2")
    assert host.alloc(Request(2, 4), "d", 5 * PAGE_BYTES - 7)[0] == Create(
        "boot-4", 5 * PAGE_BYTES - 7, True, spare="boot-1"
    )


def test_spares_go_before_cached_inputs() -> None:
    host = tier(pages=2)
    load(host, ONE)
    host.loaded("boot-1")
    host.release(1, ["boot-1"])
    result(host, TWO)
    host.release(1, ["boot-2"])
    assert host.load(THREE, "t", "other", "k", item())[0] == Free("boot-2")
    assert host.idle_bytes == PAGE_BYTES


def test_loads_and_results_that_take_turns_keep_each_others_spares() -> None:
    host = tier(pages=3)
    for number in range(1, 9):
        load(host, Request(1, 2 * number), f"k{number}")
        host.loaded(f"boot-{2 * number - 1}")
        host.release(1, [f"boot-{2 * number - 1}"])
        result(host, Request(1, 2 * number + 1))
        host.release(1, [f"boot-{2 * number}"])
    # Fresh memory was made for the first two inputs and the first result only.
    assert host.counts.reused == 13
    assert (host.idle_bytes, host.spare_bytes) == (2 * PAGE_BYTES, PAGE_BYTES)


def test_a_spare_that_nothing_has_used_since_the_cached_inputs_goes_first() -> None:
    host = tier(pages=3)
    result(host, ONE)
    host.release(1, ["boot-1"])
    for number, key in ((2, "a"), (3, "b")):
        load(host, Request(1, number), key)
        host.loaded(f"boot-{number}")
        host.release(1, [f"boot-{number}"])
    assert load(host, Request(1, 4), "c")[0] == Free("boot-1")
    assert host.idle_bytes == 2 * PAGE_BYTES


def test_what_may_still_be_mapped_does_not_serve_again() -> None:
    host = tier(pages=9)
    load(host, ONE, "a")
    load(host, TWO, "b")
    for name in ("boot-1", "boot-2"):
        host.loaded(name)
    result(host, THREE)
    host.release(1, ["boot-1"], mapped=["boot-1"])
    assert host.gone(2) == [Free("boot-3")]  # Its executor may not know yet.
    assert host.release(1, ["boot-2"], mapped=["boot-1"]) == []
    evicted = load(host, Request(1, 4), "large", pages=9)
    assert evicted[:3] == [Free("boot-1"), Keep("boot-2"), Free("boot-2")]


def test_purge_drops_a_domains_spares_too() -> None:
    host = tier(pages=9)
    for number, domain in ((1, "d"), (2, "other")):
        result(host, Request(1, number), domain)
    host.release(1, ["boot-1", "boot-2"])
    assert host.purge("d") == (PAGE_BYTES, [Free("boot-1")])
    assert host.spare_bytes == PAGE_BYTES


def test_an_error_of_the_store_is_passed_on_unchanged() -> None:
    host = tier()
    load(host, ONE)
    (refuse, _) = host.load_failed("boot-1", FAILURE)
    assert isinstance(refuse, Refuse) and refuse.error is FAILURE
