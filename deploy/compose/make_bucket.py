"""Makes the bucket of the uploads if it is not there yet; docker-compose.yml runs it once in the api image.

Waits for the S3 service: it answers some seconds after its container has started. Exit status 1 after a minute.
"""

from __future__ import annotations

import sys
import time

from botocore.exceptions import BotoCoreError, ClientError

from jobs.s3 import make_s3_client
from jobs.settings import Settings

PATIENCE_S = 60.0
PAUSE_S = 1.0
# The bucket is ours already, in the words of AWS and of others.
IS_THERE = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


def main() -> int:
    settings = Settings()
    client, bucket = make_s3_client(settings.s3), settings.storage.bucket
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            client.create_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in IS_THERE:
                print(f"the bucket {bucket} is there")  # noqa: T201 - a command's output
                return 0
            reason: Exception = error
        except BotoCoreError as error:
            reason = error
        else:
            print(f"made the bucket {bucket}")  # noqa: T201
            return 0
        if time.monotonic() > give_up_at:
            print(f"the bucket {bucket} could not be made: {reason}", file=sys.stderr)  # noqa: T201
            return 1
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    sys.exit(main())
