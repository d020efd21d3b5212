from numbers import Integral


def is_integer(value: object, *, least: int | None = None, most: int | None = None) -> bool:
    """Return whether a value is an integer in a range, of Python or NumPy; a bool is none."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        return False
    return (least is None or int(value) >= least) and (most is None or int(value) <= most)
