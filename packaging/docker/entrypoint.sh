#!/bin/sh
# What the Rust program's image understands:
#
#     docker run -e SIDELB_BIND_ADDR=... -e SIDELB_RING_DOMAIN=... sidelb          all of it from SIDELB_* variables
#     docker run sidelb 0.0.0.0:5432 ring_domain=db.example.com:5432               as on a command line
#     docker run sidelb help
#     docker run -it sidelb sh
#
# exec everywhere: SideLB is to get the signals.
case "${1:-sidelb-daemon}" in
    sidelb-daemon) exec sidelb ;;
    help) exec sidelb --help ;;
    sh | bash | sidelb) exec "$@" ;;
    *) exec sidelb "$@" ;;
esac
