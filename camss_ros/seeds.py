"""The range of seeds, one for all generators."""

from numbers import Integral

LARGEST_SEED = 2**64 - 1  # of PyTorch's; NumPy's take any, but none below 0


def check_seed(seed: int) -> int:
    """The seed as an int, of NumPy's too; raises ValueError where it is none."""
    if not isinstance(seed, Integral) or not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"seed must be a whole number from 0 to {LARGEST_SEED}, not {seed}")
    return int(seed)
