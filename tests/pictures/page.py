"""The picture of the status page, docs/pictures/page.png, by a real Chromium: `python -m tests.pictures.page`.

It shows the sample of the terminal's picture. Another version of Chromium draws other bytes, so CI does not compare it.
"""
from __future__ import absolute_import, division, print_function

from gevent import monkey
monkey.patch_all()

import os                                        # noqa: E402
import sys                                       # noqa: E402

from sidelb_lib.net.listeners import listen_tcp  # noqa: E402
from sidelb_lib.observe.http_answers import Application    # noqa: E402
from sidelb_lib.observe.http_server import HttpServer      # noqa: E402

from ..support.browser import Browser            # noqa: E402
from ..support.recording import RecordingLog     # noqa: E402
from ..support.waiting import wait_until         # noqa: E402
from .__main__ import DIRECTORY, load            # noqa: E402

SAMPLE, WIDTH, HEIGHT = '10-outage', 1280, 484


def take(path, sample=SAMPLE, width=WIDTH, height=HEIGHT, **options):
    log = RecordingLog()
    application = Application(None, None, lambda with_history: load(sample), {}, log, lambda: 0.0)
    server = HttpServer(listen_tcp('127.0.0.1', 0), application, log)
    server.start()
    try:
        with Browser() as browser:
            view = browser.open('http://127.0.0.1:%d/' % server.address[1], width=width, height=height, **options)
            wait_until('it shows nothing', lambda: view.text('#verdict') not in ('', 'asking') and view.text('main'), 20)
            view.picture(path, False)
    finally:
        server.close()


def main(arguments):
    os.environ['TZ'] = 'UTC'
    take(arguments[0] if arguments else os.path.join(DIRECTORY, 'page.png'), *arguments[1:2])


if __name__ == '__main__':
    main(sys.argv[1:])
