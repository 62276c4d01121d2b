"""ncf: generative networks that settle and learn locally (neural generative coding), as a command-line experiment runner."""

__version__ = "0.2.0"
