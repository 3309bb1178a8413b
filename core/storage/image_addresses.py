"""Which addresses callers may name as those of their images, for the API and the command line alike."""

from __future__ import annotations

from core.errors import InvalidAddress
from core.net.urls import UPLOAD_SCHEME, Address
from core.settings import FetchSettings
from core.storage.uploads import Storage


def parse_image_address(text: str, settings: FetchSettings, storage: Storage) -> Address:
    """Parses the address of a caller's image. Raises InvalidAddress if it is not valid or refers to an upload."""
    address = Address.parse(text)
    # Callers must not refer to stored uploads: one could read another owner's file that way.
    if address.scheme == UPLOAD_SCHEME or address.scheme not in settings.schemes or storage.is_own(str(address)):
        raise InvalidAddress(
            f"only {', '.join(settings.schemes)} URLs of your own images are accepted; upload files directly"
        )
    return address
