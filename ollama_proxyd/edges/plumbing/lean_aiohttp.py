"""Imports aiohttp without what it loads for nobody: certificates (2 MB and 40 ms of each start), C++, /etc/mime.types.

OpenSSL looks for certificates where SSL_CERT_FILE says (SSL_CTX_load_verify_locations(3)). Those contexts trust nobody
then; `general_client` makes one with the system's certificates when a server is first asked over TLS. The lists of
handlers and signals (frozenlist) have an extension in C++, whose library takes 1 MB; they are short. What we send is
told its type by us.
"""

import mimetypes
import os

_SAID = {"SSL_CERT_FILE": os.devnull, "FROZENLIST_NO_EXTENSIONS": "1"}
_given = {name: os.environ[name] for name in _SAID if name in os.environ}
os.environ.update(_SAID)
mimetypes.knownfiles.clear()
try:
    import aiohttp
finally:
    for _name in _SAID:
        del os.environ[_name]
    os.environ.update(_given)

__all__ = ["aiohttp"]
