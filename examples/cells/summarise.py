"""The last action: counts the regions that kernels have found, and paints them."""

from __future__ import annotations

import io
from typing import Any

import boto3
import numpy as np
from PIL import Image

#: Regions of fewer pixels are specks.
LEAST_PIXELS = 100


def main(args: dict[str, Any]) -> dict[str, Any]:
    """`labels` is the reference of int32[height, width]; gives how many cells, the largest, and a picture beside it."""
    lacking = [name for name in ("endpoint", "access_key", "secret_key", "labels") if name not in args]
    if lacking or not str(args["labels"]).startswith("s3://"):
        return {"error": f"labels is the s3:// reference of an array, all else is bound; missing: {lacking}"}
    access = {"aws_access_key_id": args["access_key"], "aws_secret_access_key": args["secret_key"]}
    s3 = boto3.client("s3", endpoint_url=args["endpoint"], region_name="us-east-1", **access)
    bucket, _, key = args["labels"].removeprefix("s3://").partition("/")
    labels = np.load(io.BytesIO(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
    numbers, pixels = np.unique(labels[labels > 0], return_counts=True)
    cells = dict(zip(numbers[pixels >= LEAST_PIXELS].tolist(), pixels[pixels >= LEAST_PIXELS].tolist(), strict=True))
    picture = io.BytesIO()
    Image.fromarray(paint(labels, list(cells))).save(picture, "PNG")
    target = key.rpartition("/")[0] + "/cells.png"
    s3.put_object(Bucket=bucket, Key=target, Body=picture.getvalue())
    print(f"{len(numbers)} regions, {len(cells)} of them cells")
    return {"cells": len(cells), "largest": max(cells.values(), default=0), "picture": f"s3://{bucket}/{target}"}


def paint(labels: np.ndarray[Any, Any], cells: list[int]) -> np.ndarray[Any, Any]:
    """uint8[height, width, 3]: each cell in a colour of its own, everything else black."""
    colours = np.random.default_rng(0).integers(60, 256, (len(cells) + 1, 3), dtype=np.uint8)
    colours[0] = 0
    # 0 is no cell; np.searchsorted finds each label's place among those that are.
    known = np.array([0, *cells])
    places = np.minimum(np.searchsorted(known, labels), len(cells))
    return np.asarray(colours[np.where(known[places] == labels, places, 0)])
