"""Imports aiohttp without what it reads for nobody: certificates, 2 MB and 40 ms of each start, and /etc/mime.types.

OpenSSL looks for them where SSL_CERT_FILE says (SSL_CTX_load_verify_locations(3)). Those contexts trust nobody then;
`general_client` makes one with the system's certificates when a server is first asked over TLS. What we send is told
its type by us.
"""

import mimetypes
import os

_NAME = "SSL_CERT_FILE"
_given = os.environ.get(_NAME)
os.environ[_NAME] = os.devnull
mimetypes.knownfiles.clear()
try:
    import aiohttp
finally:
    del os.environ[_NAME]
    if _given is not None:
        os.environ[_NAME] = _given

__all__ = ["aiohttp"]
