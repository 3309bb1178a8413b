"""Creates the bucket for uploads if it does not exist; docker-compose.yml runs it once in the api image.

Waits up to a minute for the S3 service, which needs some seconds to start.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from core.settings import Settings
from core.storage.s3 import make_s3_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TIMEOUT_S = 60.0
PAUSE_S = 1.0


def main() -> int:
    settings = Settings()
    client, bucket = make_s3_client(settings.s3), settings.storage.bucket
    give_up_at = time.monotonic() + TIMEOUT_S
    while True:
        try:
            print(make_bucket(client, bucket), flush=True)  # noqa: T201 - a command's output
            return 0
        except (BotoCoreError, ClientError) as error:
            if _is_final(error) or time.monotonic() > give_up_at:
                print(f"cannot create the bucket {bucket}: {error}", file=sys.stderr)  # noqa: T201
                return 1
        time.sleep(PAUSE_S)


def make_bucket(client: S3Client, bucket: str) -> str:
    """Creates the bucket if it does not exist. Returns a message for the log."""
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if _status(error) != 404:
            raise
    else:
        return f"the bucket {bucket} exists"
    client.create_bucket(Bucket=bucket)
    return f"created the bucket {bucket}"


def _is_final(error: BotoCoreError | ClientError) -> bool:
    """Whether retrying is useless, because the service responded with a client error."""
    return isinstance(error, ClientError) and _status(error) < 500


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


if __name__ == "__main__":
    sys.exit(main())
