"""Content keys are equal exactly for equal contents."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kaas_pool.content import ObjectRange, content_key

ITEM = ObjectRange("s3", "bucket", "key", "etag", None, 0, 10)


def test_a_key_depends_on_nothing_else() -> None:
    assert content_key("o", ITEM) == content_key("o", replace(ITEM))
    assert len(content_key("o", ITEM)) == 64


@pytest.mark.parametrize(
    "other",
    [
        replace(ITEM, scheme="file"),
        replace(ITEM, bucket="b"),
        replace(ITEM, key="k"),
        replace(ITEM, etag="e"),
        replace(ITEM, version="1"),
        replace(ITEM, offset=1),
        replace(ITEM, size=9),
        replace(ITEM, bucket="bucketk", key="ey"),
        replace(ITEM, bucket='bucket","key', key=""),
    ],
)
def test_another_content_has_another_key(other: ObjectRange) -> None:
    assert content_key("o", other) != content_key("o", ITEM)


def test_another_endpoint_has_another_key() -> None:
    assert content_key("p", ITEM) != content_key("o", ITEM)
