"""A reload: other services and settings for a running process, all or nothing. Sessions never notice."""
from __future__ import absolute_import, division, print_function

from gevent.lock import BoundedSemaphore

from .config.changes import changes, need_restart
from .errors import BindError, SettingsError


class Reloader(object):
    """Takes a new configuration over into `process`.

    `configuration` is the one in force, `reread()` gives the one that is wanted, or raises SettingsError.
    """

    def __init__(self, process, configuration, reread, log):
        self._process = process
        self._configuration = configuration
        self._reread = reread
        self._log = log
        self._turn = BoundedSemaphore(1)
        self.results = {'ok': 0, 'failed': 0}      # how many reloads ended so

    def reload(self):
        """Read, check, bind what is new; then take all over, or nothing. Returns (mistakes, Changes or None)."""
        with self._turn:
            mistakes, wanted = self._read()
            services, listeners = {}, {}
            if not mistakes:
                mistakes = self._bind(wanted, services, listeners)
            self.results['failed' if mistakes else 'ok'] += 1
            if mistakes:
                self._log.error('reload_failed', 'nothing has changed, the configuration is wrong: {mistakes}',
                                mistakes='\n'.join(mistakes))
                return mistakes, None
            found = changes(self._configuration, wanted)
            self._configuration = wanted
            self._process.take_over(wanted, found, services, listeners)
            drained = self._process.drained()
            self._log.info('reloaded', 'reloaded: {summary}', summary=summary(found, drained),
                           added=', '.join(found.added), removed=', '.join(found.removed),
                           changed=', '.join(found.changed), drained=', '.join(drained))
            return [], found

    def _read(self):
        try:
            wanted = self._reread()
        except SettingsError as error:
            return error.mistakes, None
        return need_restart(self._configuration, wanted), wanted

    def _bind(self, wanted, services, listeners):
        """Bind all that is new before anything changes, by name: `services` that are added, `listeners` that move. On a
        mistake, which is returned, all of that is closed."""
        found = changes(self._configuration, wanted)
        try:
            for name, settings in wanted.services:
                if name in found.added:
                    service = self._process.new_service(name, settings)
                    service.bind()
                    services[name] = service
                elif name in found.changed:
                    listeners[name] = self._process.services[name].bind_beside(settings)
        except BindError as error:
            for service in services.values():
                service.stop()
            for listener in listeners.values():
                if listener is not None:
                    listener.close()
            return ['[service:%s] %s' % (name, error)]
        return []


def summary(found, drained):
    """`added: x; db: mode, refresh; still draining: db1`."""
    parts = ['%s: %s' % (word, ', '.join(names)) for word, names in (
        ('added', found.added), ('removed', found.removed), ('process', found.process),
        ('still draining', drained)) if names]
    parts += ['%s: %s' % (name, ', '.join(keys)) for name, keys in found.changed.items()]
    return '; '.join(parts) or 'nothing differs'
