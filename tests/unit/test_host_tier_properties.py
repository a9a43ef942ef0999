"""The host tier under arbitrary orders of events, against a model that keeps the books."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kaas.errors import PlatformError
from kaas_pool.content import ObjectRange
from kaas_pool.mover.decisions import AbortLoad, Create, Decision, Free, Grant, Keep, Refuse, Request, StartLoad
from kaas_pool.mover.host_tier import PAGE_BYTES, HostTier, charged_bytes

BUDGET_PAGES, SEGMENTS = 6, 4
FAILURE = PlatformError("store_error", "broken")

holders = st.integers(1, 3)
domains = st.sampled_from(["d", "e"])
tenants = st.sampled_from(["t", "u"])
keys = st.sampled_from("abcdefgh")
pages = st.integers(0, BUDGET_PAGES + 1)


class HostTierMachine(RuleBasedStateMachine):
    """Carries decisions out on paper: memory, contents, leases, open requests."""

    def __init__(self) -> None:
        super().__init__()
        self.tier = HostTier(BUDGET_PAGES * PAGE_BYTES, SEGMENTS, "boot")
        self.ids = 0
        #: Unanswered requests: the domain, and the key unless it is for a result.
        self.open: dict[Request, tuple[str, str | None]] = {}
        self.memory: dict[str, int] = {}
        #: Memory that nothing uses, with the domain and the kind it was made for.
        self.spares: dict[str, tuple[str, bool]] = {}
        self.kinds: dict[str, tuple[str, bool]] = {}
        #: Of segments made out of spares: what those were.
        self.former: dict[str, tuple[str, bool]] = {}
        #: Segments that somebody without a lease may look at.
        self.mapped: set[str] = set()
        self.contents: dict[str, tuple[str, str] | None] = {}
        self.loading: dict[str, StartLoad] = {}
        self.aborted: set[str] = set()
        self.leases: Counter[tuple[int, str]] = Counter()
        self.holds: Counter[str] = Counter()

    def request(self, holder: int, what: tuple[str, str | None]) -> Request:
        self.ids += 1
        request = Request(holder, self.ids)
        self.open[request] = what
        return request

    def carry_out(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, Create):
                assert decision.segment not in self.memory
                charge = charged_bytes(decision.size)
                if decision.spare is not None:
                    self.former[decision.segment] = self.spares.pop(decision.spare)
                    assert decision.spare not in self.mapped
                    assert charge <= self.memory[decision.spare]
                    charge = self.memory.pop(decision.spare)
                self.memory[decision.segment] = charge
            elif isinstance(decision, StartLoad):
                assert decision.segment in self.memory and decision.segment not in self.loading
                assert decision.segment not in self.contents
                assert all(other.item != decision.item for other in self.loading.values())
                self.loading[decision.segment] = decision
                self.is_of(decision.segment, decision.item.bucket, is_result=False)
            elif isinstance(decision, AbortLoad):
                assert decision.segment in self.loading
                self.aborted.add(decision.segment)
            elif isinstance(decision, Grant):
                domain, key = self.open.pop(decision.request)
                assert decision.segment in self.memory and decision.segment not in self.loading
                assert self.contents.get(decision.segment) == ((domain, key) if key else None)
                assert (decision.source is None) == (key is None)
                self.is_of(decision.segment, domain, is_result=key is None)
                self.leases[decision.request.holder, decision.segment] += 1
            elif isinstance(decision, Refuse):
                del self.open[decision.request]
            elif isinstance(decision, Keep):
                self.end(decision.segment)
                self.spares[decision.segment] = self.kinds[decision.segment]
            else:
                assert isinstance(decision, Free)
                if self.spares.pop(decision.segment, None) is None:
                    self.end(decision.segment)
                del self.memory[decision.segment]
        assert sum(self.memory.values()) <= BUDGET_PAGES * PAGE_BYTES and len(self.memory) <= SEGMENTS

    def is_of(self, name: str, domain: str, *, is_result: bool) -> None:
        """A segment's memory is its domain's, and was when it served before."""
        kind = self.kinds.setdefault(name, (domain, is_result))
        assert kind == (domain, is_result) == self.former.get(name, kind)

    def end(self, name: str) -> None:
        """A segment is gone."""
        assert name not in self.loading and not self.holds[name]
        assert not any(count for (_, leased), count in self.leases.items() if leased == name)
        self.contents.pop(name, None)

    @rule(holder=holders, tenant=tenants, domain=domains, key=keys)
    def load(self, holder: int, tenant: str, domain: str, key: str) -> None:
        # One key has one size, up to more than there is; the bucket tells the model whose entry it is.
        item = ObjectRange("s3", domain, key, "etag", None, 0, "abcdefgh".index(key) * PAGE_BYTES)
        self.carry_out(self.tier.load(self.request(holder, (domain, key)), tenant, domain, key, item))

    @rule(holder=holders, domain=domains, pages=pages)
    def alloc(self, holder: int, domain: str, pages: int) -> None:
        self.carry_out(self.tier.alloc(self.request(holder, (domain, None)), domain, pages * PAGE_BYTES))

    def finish(self, name: str, outcome: str) -> None:
        start = self.loading.pop(name)
        aborted = name in self.aborted
        self.aborted.discard(name)
        if outcome == "loaded":
            self.contents[name] = (start.item.bucket, start.item.key)
            self.carry_out(self.tier.loaded(name))
        else:
            # An I/O layer says "aborted" only after it was told to abort.
            self.carry_out(self.tier.load_failed(name, None if aborted and outcome == "aborted" else FAILURE))

    @precondition(lambda self: self.loading)
    @rule(data=st.data(), outcome=st.sampled_from(["loaded", "failed", "aborted"]))
    def end_of_load(self, data: st.DataObject, outcome: str) -> None:
        self.finish(data.draw(st.sampled_from(sorted(self.loading))), outcome)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(sorted(self.open, key=str)))
        self.carry_out(self.tier.cancel(request))
        assert request not in self.open

    def leased(self) -> list[tuple[int, str]]:
        return sorted(lease for lease, count in self.leases.items() if count)

    @precondition(lambda self: self.leased())
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        holder, name = data.draw(st.sampled_from(self.leased()))
        self.leases[holder, name] -= 1
        mapped = data.draw(st.sampled_from([[], [name]]))
        self.mapped.update(mapped)
        self.carry_out(self.tier.release(holder, [name], mapped))

    @rule(holder=holders, name=st.sampled_from(["boot-1", "boot-2", "nothing"]))
    def release_what_is_not_leased(self, holder: int, name: str) -> None:
        if not self.leases[holder, name]:
            assert self.tier.release(holder, [name]) == []

    @precondition(lambda self: self.leased())
    @rule(data=st.data())
    def hold(self, data: st.DataObject) -> None:
        holder, name = data.draw(st.sampled_from(self.leased()))
        held = self.tier.hold(holder, name)
        assert held == (name not in self.contents)
        self.holds[name] += held

    @precondition(lambda self: +self.holds)
    @rule(data=st.data())
    def unhold(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(+self.holds)))
        self.holds[name] -= 1
        self.carry_out(self.tier.unhold(name))

    @rule(holder=holders)
    def gone(self, holder: int) -> None:
        self.open = {request: what for request, what in self.open.items() if request.holder != holder}
        for lease in [lease for lease in self.leases if lease[0] == holder]:
            if self.leases.pop(lease):
                self.mapped.add(lease[1])
        self.carry_out(self.tier.gone(holder))

    @rule(domain=domains)
    def purge(self, domain: str) -> None:
        leased = {name for _, name in self.leased()}
        idle = [n for n, what in self.contents.items() if what and what[0] == domain and n not in leased]
        idle += [name for name, (owner, _) in self.spares.items() if owner == domain]
        expected = sum(self.memory[name] for name in idle)
        freed, decisions = self.tier.purge(domain)
        self.carry_out(decisions)
        assert freed == expected
        assert not any(name in self.memory for name in idle)

    @invariant()
    def books_agree(self) -> None:
        self.tier.check()
        assert self.tier.used_bytes == sum(self.memory.values())
        assert self.tier.segments == len(self.memory)
        assert self.tier.spare_bytes == sum(self.memory[name] for name in self.spares)
        assert self.tier.waiting == len(self.open)

    def teardown(self) -> None:
        """Once transfers end and leases are released, everyone has an answer and nothing is in use."""
        while self.loading or self.leased() or +self.holds:
            for name in list(self.loading):
                self.finish(name, "loaded")
            for name in sorted(+self.holds):
                self.holds[name] -= 1
                self.carry_out(self.tier.unhold(name))
            for holder, name in self.leased():
                self.leases[holder, name] -= 1
                self.carry_out(self.tier.release(holder, [name]))
            self.books_agree()
        assert not self.open
        assert self.tier.idle_bytes + self.tier.spare_bytes == self.tier.used_bytes


HostTierMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
TestHostTier = HostTierMachine.TestCase
