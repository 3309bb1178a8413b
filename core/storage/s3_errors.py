"""Converts errors of S3 to job errors: what the caller can mend, what the operator must mend, and what may pass.

A store's refusal of this service's keys, clock or region is not the caller's fault, although it often has status 403.
Messages name the setting to change. The store's own texts reveal endpoints and accounts, so only the log has them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from urllib3.exceptions import HTTPError

from core.errors import AccessDenied, JobError, NotFound, StorageMisconfigured, StorageUnavailable

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

log = structlog.get_logger(__name__)

_MISSING_OBJECT = frozenset({"NoSuchKey", "NoSuchVersion"})
_INVALID_NAME = frozenset({"InvalidBucketName", "InvalidURI", "KeyTooLongError"})
_MISSING = _MISSING_OBJECT | _INVALID_NAME | {"NoSuchBucket", "NotFound", "404"}
_DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "Forbidden", "InvalidObjectState", "403"})

_KEYS = "does not accept this service's keys: check ENRICH_S3__ACCESS_KEY_ID and ENRICH_S3__SECRET_ACCESS_KEY"
_TOKEN = "does not accept this service's session token: renew its credentials"  # noqa: S105 - a sentence
_CLOCK = "refuses requests because this service's clock is wrong: synchronize it"
_REGION = "expects another region or endpoint: check ENRICH_S3__REGION and ENRICH_S3__ENDPOINT_URL"
_OURS = {
    **dict.fromkeys(["RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"], _CLOCK),
    **dict.fromkeys(
        ["ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired", "InvalidSecurity"], _TOKEN
    ),
    **dict.fromkeys(
        [
            "401",
            "AccountProblem",
            "AuthFailure",
            "CredentialsNotSupported",
            "InvalidAccessKey",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "MissingAuthenticationToken",
            "MissingSecurityHeader",
            "NotSignedUp",
            "SignatureDoesNotMatch",
            "Unauthorized",
            "UnrecognizedClientException",
            "XAmzContentSHA256Mismatch",
        ],
        _KEYS,
    ),
    **dict.fromkeys(
        [
            "301",
            "307",
            "308",
            "AuthorizationHeaderMalformed",
            "AuthorizationQueryParametersError",
            "IllegalLocationConstraintException",
            "IncorrectEndpoint",
            "InvalidRegion",
            "MovedPermanently",
            "PermanentRedirect",
            "Redirect",
            "TemporaryRedirect",
        ],
        _REGION,
    ),
}
_NO_CREDENTIALS = (
    "No AWS credentials are configured for reading s3 addresses: set ENRICH_S3__ACCESS_KEY_ID and "
    "ENRICH_S3__SECRET_ACCESS_KEY, or give the service a role; or use a presigned https address."
)


@contextmanager
def s3_failures_as_job_errors(*, is_uploads: bool = False) -> Iterator[None]:
    """Converts boto3's errors to ours, and logs the store's code.

    is_uploads: whether the bucket is the service's own. A caller is not told that it is missing or closed.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise _client_error(error, is_uploads) from error
    except BotoCoreError as error:
        raise _local_error(error) from error
    except (OSError, HTTPError) as error:
        raise _unreachable(error) from error
    except ValueError as error:  # botocore raises it for an endpoint that is no URL
        log.warning("s3_failed", error=type(error).__name__, why=str(error))
        raise StorageMisconfigured("The object store's URL is not valid: check ENRICH_S3__ENDPOINT_URL.") from error


def _client_error(error: ClientError, is_uploads: bool) -> JobError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    converted = _by_code(code, status, is_uploads)
    write = log.info if isinstance(converted, NotFound | AccessDenied) else log.warning
    write("s3_failed", code=code, status=status, operation=error.operation_name)
    return converted


def _by_code(code: str, status: int, is_uploads: bool) -> JobError:
    if code in _OURS or status in (301, 307, 308, 401):
        return StorageUnavailable(f"The object store {_OURS.get(code, _REGION if status != 401 else _KEYS)}.")
    if is_uploads and code in _MISSING_OBJECT:
        return NotFound("The uploaded file no longer exists: upload it again.")
    if is_uploads and (code in _MISSING | _DENIED or status in (403, 404)):
        return StorageUnavailable(
            "The bucket for uploads is missing or closed: check ENRICH_STORAGE__BUCKET and the rights of its keys."
        )
    if code in _MISSING or status == 404:
        return NotFound("The object does not exist in the store: check the bucket and the key.")
    if code in _DENIED or code.startswith("KMS.") or status == 403:
        return AccessDenied(
            "The object store denies access to this object: grant this service `s3:GetObject`, or use a presigned URL."
        )
    return StorageUnavailable("The object store could not serve the request.")


def _local_error(error: BotoCoreError) -> JobError:
    """Converts errors that boto3 finds before it has an answer of the store."""
    from botocore import exceptions as boto

    unloaded = (boto.CredentialRetrievalError, boto.MetadataRetrievalError, boto.SSOError, boto.TokenRetrievalError)
    if isinstance(error, unloaded):
        return _unreachable(error, "'s credentials could not be loaded: check the role or login of this service")
    if isinstance(error, boto.SSLError):
        return _unreachable(error, "'s certificate is not valid: check ENRICH_S3__ENDPOINT_URL and AWS_CA_BUNDLE")
    missing = (boto.NoCredentialsError, boto.PartialCredentialsError)
    settings = (boto.ProfileNotFound, boto.ConfigParseError, boto.ConfigNotFound, boto.InvalidRegionError)
    if not isinstance(error, missing + settings):
        return _unreachable(error)
    log.warning("s3_failed", error=type(error).__name__, why=str(error))
    if isinstance(error, missing):
        return StorageMisconfigured(_NO_CREDENTIALS)
    return StorageMisconfigured(
        "The configuration of the object store is not valid: check ENRICH_S3__REGION, AWS_PROFILE and AWS_CONFIG_FILE."
    )


def _unreachable(
    error: Exception, why: str = " could not be reached: check ENRICH_S3__ENDPOINT_URL"
) -> StorageUnavailable:
    log.warning("s3_unreachable", error=type(error).__name__, why=str(error))
    return StorageUnavailable(f"The object store{why}.")
