"""References: what is read, what is refused, and that nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaas.errors import CallerError
from kaas.references import InlineValue, Reference, input_reference, output_reference, parse_input

WHERE = "arguments.x"


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("s3://data/x.npy", Reference("s3", "data", "x.npy")),
        ("s3://data/a/b c%20+&=#.bin", Reference("s3", "data", "a/b c%20+&=#.bin")),
        ("s3://data/x?versionId=3/L4kq+tJ", Reference("s3", "data", "x", version="3/L4kq+tJ")),
        ("s3://data/x?offset=10&size=20", Reference("s3", "data", "x", offset=10, size=20)),
        ("s3://data/x?size=20", Reference("s3", "data", "x", offset=0, size=20)),
        ("s3://data/x?offset=10", Reference("s3", "data", "x", offset=10)),
        ("file:///data/x.npy", Reference("file", "", "/data/x.npy")),
        ("file:///data/x.npy?offset=1", Reference("file", "", "/data/x.npy", offset=1)),
    ],
)
def test_forms(text: str, reference: Reference) -> None:
    assert Reference.parse(text, WHERE) == reference
    assert Reference.parse(str(reference), WHERE) == reference


def test_one_object_has_one_id_whatever_the_range() -> None:
    part = Reference.parse("s3://data/x?versionId=v1&offset=4&size=8", WHERE)
    assert part.object_id == "s3://data/x?versionId=v1"
    assert part.whole() == Reference("s3", "data", "x", version="v1")
    assert not part.whole().is_range


@pytest.mark.parametrize(
    ("text", "part", "hint"),
    [
        ("x.npy", "is not a reference", "s3://data/x.npy"),
        ("http://host/x.npy", "is not a reference", "not by URL"),
        ("gs://data/x.npy", "is not a reference", "s3://"),
        ("@x.npy", "is not a reference", "kaas cp"),
        ("s3:/data/x.npy", "is not a reference", "s3://"),
        ("s3://", "not a bucket name", "s3://"),
        ("s3:///x.npy", "not a bucket name", "s3://"),
        ("s3://a b/x", "not a bucket name", "s3://"),
        ("s3://data", "has no key", "s3://"),
        ("s3://data/", "has no key", "s3://"),
        ("s3://data/dir/", "ends in a slash", "s3://"),
        ("s3://data/a/../b", "part '.' or '..'", "s3://"),
        ("s3://data/a\nb", "control character", "s3://"),
        ("s3://data/" + "x" * 1025, "more than 1024 bytes", "s3://"),
        ("s3://data/x?offset=-1", "no number of bytes", None),
        ("s3://data/x?offset=²", "no number of bytes", None),
        ("s3://data/x?ofset=1", "no option", "offset"),
        ("s3://data/x?offset=1&offset=2", "stands twice", None),
        ("s3://data/x?versionId=", "no version id", None),
        ("s3://data/x?", "no option", "offset"),
        ("file://host/x", "names a host", "file:///"),
        ("file:///../etc/passwd", "part '.' or '..'", None),
        ("file:///x?versionId=1", "no version id", None),
    ],
)
def test_refusals(text: str, part: str, hint: str | None) -> None:
    with pytest.raises(CallerError) as caught:
        Reference.parse(text, WHERE)
    assert caught.value.code == "reference_invalid"
    assert caught.value.where == WHERE
    assert part in caught.value.message
    if hint is not None:
        assert hint in (caught.value.hint or "")


SAFE = "s3://models/bert.safetensors"


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        (f"{SAFE}#layer.0.weight", Reference("s3", "models", "bert.safetensors", tensor="layer.0.weight")),
        (f"{SAFE}?versionId=v1#w", Reference("s3", "models", "bert.safetensors", version="v1", tensor="w")),
        (f"{SAFE}#a#b?c/../d e", Reference("s3", "models", "bert.safetensors", tensor="a#b?c/../d e")),
        ("s3://models/B.SafeTensors#w", Reference("s3", "models", "B.SafeTensors", tensor="w")),
        (
            "s3://models/a.safetensors/b.safetensors#w",
            Reference("s3", "models", "a.safetensors/b.safetensors", tensor="w"),
        ),
        ("file:///m/bert.safetensors#w", Reference("file", "", "/m/bert.safetensors", tensor="w")),
        (f"{SAFE}?offset=8&size=4", Reference("s3", "models", "bert.safetensors", offset=8, size=4)),
        (
            "s3://models/bert.npy?versionId=a.safetensors#b",
            Reference("s3", "models", "bert.npy", version="a.safetensors#b"),
        ),
    ],
)
def test_tensors(text: str, reference: Reference) -> None:
    assert input_reference(text, WHERE) == reference
    assert str(reference) == text
    assert reference.whole() == Reference(reference.scheme, reference.bucket, reference.key, reference.version)
    assert "#" not in reference.object_id or reference.tensor is None
    assert reference.is_range == (reference.tensor is not None or reference.offset is not None)


@pytest.mark.parametrize(
    ("text", "part", "hint"),
    [
        (SAFE, "holds many tensors", f"{SAFE}#weight"),
        (f"{SAFE}?versionId=1", "holds many tensors", "#weight"),
        (f"{SAFE}#", "names no tensor", "#weight"),
        (f"{SAFE}?versionId=1#", "names no tensor", "#weight"),
        (f"{SAFE}?offset=1#w", "a range and a tensor", "#weight"),
        (f"{SAFE}?versionId=1&size=4#w", "a range and a tensor", "#weight"),
        (f"{SAFE}#a\nb", "control character in its tensor's name", "#weight"),
        (f"{SAFE}#{'w' * 1025}", "name of more than 1024 bytes", "#weight"),
        ("s3://models/x.npy?versionId=1#\u00e9", "no version id", None),
    ],
)
def test_tensors_that_are_refused(text: str, part: str, hint: str | None) -> None:
    with pytest.raises(CallerError) as caught:
        input_reference(text, WHERE)
    assert (caught.value.code, caught.value.where) == ("reference_invalid", WHERE)
    assert part in caught.value.message
    if hint is not None:
        assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (SAFE, "safetensors files are read only"),
        (f"{SAFE}#w", "safetensors files are read only"),
        ("s3://out/z.npz", "an output is one array"),
        ("s3://out/z?offset=0", "without a range"),
        ("s3://out/z?versionId=1", "without a range or a version"),
        ("out/z", "is not a reference"),
    ],
)
def test_outputs_that_are_refused(text: str, part: str) -> None:
    with pytest.raises(CallerError, match=part) as caught:
        output_reference(text, WHERE)
    assert (caught.value.code, caught.value.where) == ("reference_invalid", WHERE)


def test_a_whole_file_of_tensors_has_a_name_too() -> None:
    assert Reference.parse(SAFE, WHERE) == Reference("s3", "models", "bert.safetensors")


def test_inputs() -> None:
    assert parse_input([1, 2], WHERE) == InlineValue([1, 2])
    assert parse_input(1.5, WHERE) == InlineValue(1.5)
    assert parse_input("nan", WHERE) == InlineValue("nan")
    assert parse_input({"base64": ""}, WHERE) == InlineValue({"base64": ""})
    assert parse_input("s3://a-b/c", WHERE) == Reference("s3", "a-b", "c")
    for value in (None, {}, {"ref": "s3://a/b"}):
        with pytest.raises(CallerError) as caught:
            parse_input(value, WHERE)
        assert caught.value.code == "argument_invalid"


_PIECES = st.lists(st.sampled_from([".safetensors", "#", "?", "versionId=", "a", "/", "&", "size=1"]), max_size=8)


@given(
    st.text(max_size=40)
    | st.text(max_size=40).map(lambda text: f"s3://data/{text}")
    | _PIECES.map(lambda pieces: f"s3://data/k{''.join(pieces)}")
)
def test_any_text_is_read_or_refused_and_reads_back(text: str) -> None:
    try:
        reference = Reference.parse(text, WHERE)
    except CallerError as error:
        assert error.code == "reference_invalid"
    else:
        assert Reference.parse(str(reference), WHERE) == reference
