"""The first action: lays out the equations of a heated plate, and stores them as the kernel action cg reads them."""

from __future__ import annotations

import io
from typing import Any

import boto3
import numpy as np


def equations(side: int) -> dict[str, np.ndarray[Any, Any]]:
    """The matrix of side * side points in compressed rows, and `b`: a warm spot; around the plate it is 0 degrees."""
    line = 2 * np.eye(side) - np.eye(side, k=1) - np.eye(side, k=-1)
    matrix = np.kron(line, np.eye(side)) + np.kron(np.eye(side), line)
    owners, columns = np.nonzero(matrix)
    rows = np.searchsorted(owners, np.arange(side * side + 1))
    warmth = np.zeros((side, side))
    warmth[side // 4 : side // 2, side // 3 : side // 2] = 1
    values = matrix[owners, columns]
    return {
        "values": values,
        "columns": columns.astype(np.int32),
        "rows": rows.astype(np.int32),
        "b": warmth.ravel(),
    }


def main(args: dict[str, Any]) -> dict[str, Any]:
    """`folder` is where in the store the arrays go, `side` how many points the plate has along each side."""
    lacking = [name for name in ("endpoint", "access_key", "secret_key", "folder") if name not in args]
    if lacking or not str(args["folder"]).startswith("s3://"):
        return {"error": f"folder is an s3:// prefix, all else is bound; missing: {lacking}"}
    access = {"aws_access_key_id": args["access_key"], "aws_secret_access_key": args["secret_key"]}
    s3 = boto3.client("s3", endpoint_url=args["endpoint"], region_name="us-east-1", **access)
    bucket, _, folder = args["folder"].removeprefix("s3://").partition("/")
    arrays = equations(int(args.get("side", 24)))
    for name, array in arrays.items():
        body = io.BytesIO()
        np.save(body, array)
        s3.put_object(Bucket=bucket, Key=f"{folder}/{name}.npy", Body=body.getvalue())
    print(f"{len(arrays['b'])} equations, {len(arrays['values'])} elements")
    return {name: f"s3://{bucket}/{folder}/{name}.npy" for name in arrays}
