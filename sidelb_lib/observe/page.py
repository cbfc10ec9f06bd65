"""The status page: one file, which asks for nothing but /status.json."""
from __future__ import absolute_import, division, print_function

import base64
import hashlib
import pkgutil
import re

_POLICY = ("default-src 'none'; script-src %s; style-src %s; connect-src 'self'; img-src data:; "
           "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")


def load():
    """(the page as bytes, its Content-Security-Policy): nothing runs in it but the script in the file."""
    html = pkgutil.get_data('sidelb_lib.observe', 'page.html')
    return html, _POLICY % (_sources(html, b'script'), _sources(html, b'style'))


def _sources(html, tag):
    """The hashes of all elements `tag`, as https://www.w3.org/TR/CSP3/#grammardef-hash-source wants them."""
    texts = re.findall(b'<' + tag + b'>(.*?)</' + tag + b'>', html, re.DOTALL)
    digests = [str(base64.b64encode(hashlib.sha256(text).digest()).decode('ascii')) for text in texts]
    return ' '.join("'sha256-%s'" % digest for digest in digests)
