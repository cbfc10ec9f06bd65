"""SideLB: a sidecar layer-4 load balancer."""

__version__ = '1.0.0'
