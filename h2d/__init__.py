"""Two-stage hand-aware diffusion: data preparation, training, sampling and evaluation."""

__version__ = "0.1.0"
