"""Where members come from: the sources, and how addresses are grouped into servers."""
