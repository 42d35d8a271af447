"""Numbers as people say them."""


def duration(seconds: float) -> str:
    """Whole seconds below an hour, minutes above."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def counted(number: int, thing: str) -> str:
    """1 picture, 2 pictures."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
