"""Copy a file to the object store, or back.

  kaas cp x.npy s3://data/x.npy
  kaas cp x.npy s3://data/             keeps the name
  kaas cp s3://out/z.npy z.npy         and so does . in place of z.npy

The store is what the AWS variables or profile say, else the one `kaas up` started.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from kaas.errors import CallerError, KaasError, PlatformError
from kaas.references import Reference
from kaas_cli.access import store_access
from kaas_cli.output import USAGE, Failure, patience, size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("source", metavar="FROM", help="a file, or s3://bucket/key")
    parser.add_argument("target", metavar="TO", help="s3://bucket/key, or a file or folder")


def run(given: argparse.Namespace) -> int:
    """Copy one object."""
    source, target = str(given.source), str(given.target)
    if source.startswith("s3://") == target.startswith("s3://"):
        raise Failure(
            "one of the two is a file and the other s3://bucket/key",
            hint="for example kaas cp x.npy s3://data/x.npy",
            status=USAGE,
        )
    if target.startswith("s3://"):
        file = Path(source)
        if not file.is_file():
            raise Failure(f"there is no file {file}")
        name = f"{target}{file.name}" if target.endswith("/") else target
    else:
        name = source
        file = Path(target) / source.rpartition("/")[2] if Path(target).is_dir() else Path(target)
        if not file.parent.is_dir():
            raise Failure(f"there is no folder {file.parent}")
    _transfer(file, _whole(name), upload=target.startswith("s3://"))
    return 0


def _whole(name: str) -> Reference:
    reference = Reference.parse(name, "kaas cp")
    if reference.is_range or reference.version is not None:
        raise Failure(f"{name}: kaas cp copies whole objects, in their newest version")
    return reference


def _transfer(file: Path, reference: Reference, *, upload: bool) -> None:
    access = store_access()
    client = boto3.client(
        "s3",
        endpoint_url=access.endpoint,
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        region_name=access.region,
        config=Config(retries={"total_max_attempts": 3}, connect_timeout=5),
    )
    try:
        with patience("copying"):
            if upload:
                client.upload_file(str(file), reference.bucket, reference.key)
            else:
                client.download_file(reference.bucket, reference.key, str(file))
    except (ClientError, BotoCoreError, Boto3Error) as error:
        raise _translate(error, reference) from error
    finally:
        client.close()
    print(f"{file} -> {reference}" if upload else f"{reference} -> {file}", f" {size(file.stat().st_size)}")


def _translate(error: Exception, reference: Reference) -> KaasError:
    cause = error if isinstance(error, ClientError) else error.__context__
    if isinstance(cause, ClientError):
        code = cause.response["Error"].get("Code", "")
        if code == "NoSuchBucket":
            return CallerError("bucket_not_found", f"there is no bucket {reference.bucket!r}")
        if code in ("NoSuchKey", "404"):
            return CallerError("object_not_found", f"there is no object {reference}")
        if code in ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
            return CallerError(
                "object_forbidden",
                f"the store refuses {reference} to this key ({code})",
                hint="is the bucket right? Of a local stack, the buckets are data and out",
            )
        return PlatformError("store_error", f"the store answered {code}: {cause.response['Error'].get('Message', '')}")
    return PlatformError(
        "store_unreachable", f"the object store does not answer: {error}", hint="`kaas status` tells whether it runs"
    )
