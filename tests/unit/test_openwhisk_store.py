"""What the local OpenWhisk API keeps in its file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from kaas_local.openwhisk.activation import Activation, Ended
from kaas_local.openwhisk.containers.answers import INTERRUPTED
from kaas_local.openwhisk.entities import Action, Package, Stamp
from kaas_local.openwhisk.kinds import Kinds
from kaas_local.openwhisk.names import Name
from kaas_local.openwhisk.refusal import Refusal
from kaas_local.openwhisk.store import KEPT_MS, Store, Which


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store(path)
    yield opened
    opened.close()


def put_action(store: Store, name: Name, number: int = 1, code: str = "code", *, overwrite: bool = False) -> Action:
    def make(old: Action | None) -> Action:
        return Action.put(old, name, {"exec": {"kind": "python:3", "code": code}}, Kinds(), Stamp(number, str(number)))

    return store.put_action(name, overwrite, make)


def put_package(store: Store, name: Name, number: int = 1) -> Package:
    return store.put_package(name, False, lambda old: Package.put(old, name, {}, Stamp(number, str(number))))


def activation(
    number: int,
    *,
    action: str = "a",
    namespace: str = "guest",
    start: int | None = None,
    annotations: dict[str, object] | None = None,
    cause: str | None = None,
) -> Activation:
    start = number if start is None else start
    limits = {"timeout": 60_000, "memory": 256, "logs": 10, "concurrency": 1}
    return Activation(
        activation_id=f"{number:032x}",
        namespace=namespace,
        action=action,
        version="0.0.1",
        start=start,
        end=start + 5,
        duration=5,
        status=0,
        size=2,
        annotations={"path": f"{namespace}/{action}", "limits": limits, **(annotations or {})},
        cause=cause,
    )


def put_activation(store: Store, one: Activation, result: object = None, logs: list[str] | None = None) -> Ended:
    ended = Ended(one, result if result is not None else {"ok": one.start}, logs or [])
    store.begin(one)
    store.end(ended)
    return ended


def guest(name: str, package: str | None = None) -> Name:
    return Name("guest", package, name)


def test_the_file_is_the_users_alone(store: Store, path: Path) -> None:
    put_action(store, guest("a"))
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file


def test_entities_are_there_after_a_restart(store: Store, path: Path) -> None:
    put_package(store, guest("p"))
    written = [put_action(store, guest("a"), code="one ❄"), put_action(store, guest("a", "p"), code="two")]
    store.close()
    again = Store(path)
    assert [again.action(one.name, with_code=True) for one in written] == written
    assert again.action(guest("a")).code.text is None
    assert again.package(guest("p")).name == guest("p")
    again.close()


def test_an_update_needs_to_be_asked_for(store: Store) -> None:
    put_action(store, guest("a"), 1)
    with pytest.raises(Refusal) as refused:
        put_action(store, guest("a"), 2)
    assert (refused.value.status, refused.value.text) == (409, "resource already exists")
    assert put_action(store, guest("a"), 2, "new", overwrite=True).version == "0.0.2"
    found = store.action(guest("a"), with_code=True)
    assert (found.code.text, found.stamp) == ("new", Stamp(2, "2"))


def test_a_refused_write_leaves_everything_as_it_was(store: Store) -> None:
    before = put_action(store, guest("a"))

    def refuse(old: Action | None) -> Action:
        raise Refusal(400, "no")

    with pytest.raises(Refusal):
        store.put_action(guest("a"), True, refuse)
    assert store.action(guest("a"), with_code=True) == before
    put_action(store, guest("b"))


def test_a_full_disk_is_what_is_said_and_leaves_everything_as_it_was(store: Store) -> None:
    before = put_action(store, guest("a"))
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages + 5}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        put_action(store, guest("a"), code="y" * 5_000_000, overwrite=True)
    assert store.action(guest("a"), with_code=True) == before
    put_action(store, guest("b"))


def test_a_write_that_fails_at_its_very_end_leaves_everything_as_it_was(store: Store) -> None:
    store._db.executescript(
        "PRAGMA foreign_keys = ON; CREATE TABLE parents (id INTEGER PRIMARY KEY);"
        "CREATE TABLE children (id INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED);"
    )

    def make(old: Package | None) -> Package:
        store._db.execute("INSERT INTO children VALUES (1)")
        return Package.put(old, guest("p"), {}, Stamp(1, "1"))

    with pytest.raises(sqlite3.IntegrityError):
        store.put_package(guest("p"), False, make)
    assert store.find_package(guest("p")) is None
    put_package(store, guest("p"))


def test_what_is_not_there(store: Store) -> None:
    for missing in (
        lambda: store.action(guest("a")),
        lambda: store.package(guest("a")),
        lambda: store.delete_action(guest("a")),
        lambda: store.delete_package(guest("a"), True),
        lambda: put_action(store, guest("a", "p")),
        lambda: store.activation("guest", "0" * 32),
    ):
        with pytest.raises(Refusal) as refused:
            missing()
        assert (refused.value.status, refused.value.text) == (404, "The requested resource does not exist.")
    assert store.find_component(guest("a", "p")) is None


def test_a_name_is_an_actions_or_a_packages(store: Store) -> None:
    put_action(store, guest("a"))
    put_package(store, guest("p"))
    for wrong in (
        lambda: store.package(guest("a")),
        lambda: store.action(guest("p")),
        lambda: put_action(store, guest("p"), overwrite=True),
        lambda: put_package(store, guest("a")),
        lambda: store.delete_action(guest("p")),
    ):
        with pytest.raises(Refusal) as refused:
            wrong()
        assert refused.value.status == 409
        assert refused.value.text == "Resource by this name exists but is not in this collection."


def test_a_package_that_holds_something_is_deleted_by_force_only(store: Store) -> None:
    put_package(store, guest("p"))
    put_action(store, guest("a", "p"))
    with pytest.raises(Refusal, match=r"Package not empty \(contains 1 entity\)"):
        store.delete_package(guest("p"), False)
    put_action(store, guest("b", "p"))
    with pytest.raises(Refusal, match=r"contains 2 entities\). Set force param"):
        store.delete_package(guest("p"), False)
    package, names = store.delete_package(guest("p"), True)
    assert package.name == guest("p")
    assert sorted(names) == [guest("a", "p"), guest("b", "p")]
    assert store.actions("guest", everywhere=True) == []


def test_lists_begin_with_the_last_written(store: Store) -> None:
    put_package(store, guest("p"), 1)
    put_package(store, guest("q"), 2)
    for number, name in enumerate([guest("a"), guest("b", "p"), guest("c"), Name("guest2", None, "d")]):
        put_action(store, name, number)
    put_action(store, guest("a"), 9, overwrite=True)

    def names(**page: int) -> list[str]:
        return [str(one.name) for one in store.actions("guest", everywhere=True, **page)]

    assert names() == ["guest/a", "guest/c", "guest/p/b"]
    assert names(skip=1, limit=1) == ["guest/c"]
    assert [one.name for one in store.actions("guest/p", everywhere=False)] == [guest("b", "p")]
    assert [one.name.name for one in store.packages("guest")] == ["q", "p"]


def test_an_activation_is_there_when_it_has_ended(store: Store, path: Path) -> None:
    one = activation(1)
    store.begin(one)
    with pytest.raises(Refusal):
        store.activation("guest", one.activation_id)
    assert store.activations("guest", Which()) == []
    ended = Ended(one, {"snow": "❄"}, ["a line"])
    store.end(ended)
    store.close()
    again = Store(path)
    assert again.end_interrupted() == 0
    assert again.activation("guest", one.activation_id) == ended
    with pytest.raises(Refusal):
        again.activation("other", one.activation_id)
    again.close()


def test_what_was_running_at_the_end_is_recorded_as_failed(store: Store, path: Path) -> None:
    one = activation(1)
    store.begin(one)
    store.close()
    again = Store(path)
    assert again.end_interrupted() == 1
    found = again.activation("guest", one.activation_id)
    assert found.result == {"error": INTERRUPTED}
    assert found.logs == []
    again.close()


def test_an_interrupted_sequence_has_the_ids_of_what_has_begun(store: Store) -> None:
    whole = activation(1, action="s", annotations={"kind": "sequence"})
    inner = activation(3, action="t", annotations={"kind": "sequence"}, cause=whole.activation_id)
    store.begin(whole)
    put_activation(store, activation(2, cause=whole.activation_id))
    store.begin(inner)
    put_activation(store, activation(4, cause=inner.activation_id))
    store.begin(activation(5, cause=inner.activation_id))
    put_activation(store, activation(6))
    assert store.end_interrupted() == 3
    logs = {number: store.activation("guest", f"{number:032x}").logs for number in range(1, 7)}
    expected = {1: [2, 3], 2: [], 3: [4, 5], 4: [], 5: [], 6: []}
    assert logs == {number: [f"{part:032x}" for part in parts] for number, parts in expected.items()}


def test_lists_of_activations(store: Store) -> None:
    for number, action in enumerate(["a", "p/a", "b", "a"]):
        put_activation(store, activation(number, action=action))
    put_activation(store, activation(9, namespace="other"))

    def starts(which: Which, **page: int) -> list[int]:
        return [one.start for one in store.activations("guest", which, **page)]

    assert starts(Which()) == [3, 2, 1, 0]
    assert starts(Which(), skip=1, limit=2) == [2, 1]
    assert starts(Which("a")) == [3, 0]
    assert starts(Which("p/a")) == [1]
    assert starts(Which(since=1, upto=2)) == [2, 1], "both ends included"
    assert store.count_activations("guest", Which("a")) == 2


def test_old_activations_are_forgotten(store: Store) -> None:
    for number in range(10):
        put_activation(store, activation(number, start=KEPT_MS + number), {"x": "y" * 1000})
    store.begin(activation(10, start=0))
    store.prune(KEPT_MS, kept=7)
    assert len(store.activations("guest", Which())) == 7
    store.prune(KEPT_MS, kept_bytes=4500)
    assert [one.start - KEPT_MS for one in store.activations("guest", Which())] == [9, 8, 7]
    store.prune(2 * KEPT_MS + 9)
    assert [one.start - KEPT_MS for one in store.activations("guest", Which())] == [9]
    assert store.end_interrupted() == 1, "what runs is not forgotten"


def test_pruning_comes_by_itself(store: Store) -> None:
    put_activation(store, activation(0, start=1))
    for number in range(1, 100):
        put_activation(store, activation(number, start=2 * KEPT_MS + number))
    assert store.count_activations("guest", Which()) == 99
