"""The first action: takes a photo from the object store and puts it there again as kernels read it."""

from __future__ import annotations

import io
from typing import Any

import boto3
import numpy as np
from PIL import Image


def main(args: dict[str, Any]) -> dict[str, Any]:
    """`photo` is the s3:// reference of a picture; the result's `image` that of a .npy beside it, in grey."""
    lacking = [name for name in ("endpoint", "access_key", "secret_key", "photo") if name not in args]
    if lacking or not str(args["photo"]).startswith("s3://"):
        return {"error": f"photo is the s3:// reference of a picture, all else is bound; missing: {lacking}"}
    s3 = boto3.client(
        "s3",
        endpoint_url=args["endpoint"],
        aws_access_key_id=args["access_key"],
        aws_secret_access_key=args["secret_key"],
        region_name="us-east-1",
    )
    bucket, _, key = args["photo"].removeprefix("s3://").partition("/")
    photo = Image.open(io.BytesIO(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
    image = io.BytesIO()
    np.save(image, np.asarray(photo.convert("L")))
    s3.put_object(Bucket=bucket, Key=f"{key}.npy", Body=image.getvalue())
    print(f"{key}: {photo.format}, {photo.width} x {photo.height}")
    return {"image": f"s3://{bucket}/{key}.npy"}
