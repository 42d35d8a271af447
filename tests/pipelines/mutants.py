"""Label files as accidents and strangers make them."""

import copy
import json

NASTY = (
    None, True, -1, 0, 0.5, 1e308, -(10**30), 10**400, "", "x", "-1", "\ud800", "a\x00b", "../../x", "/etc/passwd",
    "x" * 5000, "<script>", [], [[]], [None] * 42, {}, {"0": 1}, float("nan"), float("inf"),
)  # fmt: skip


def mutated(data, rng):
    """Some bytes changed, cut out, doubled or swapped."""
    mutant = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        place, length = int(rng.integers(len(mutant) or 1)), int(rng.integers(1, 40))
        match rng.integers(4):
            case 0:
                mutant[place : place + length] = rng.bytes(length)
            case 1:
                del mutant[place : place + length * 5]
            case 2:
                mutant[place:place] = mutant[place : place + length]
            case _ if mutant:
                mutant[place % len(mutant)] ^= 1 << int(rng.integers(8))
    return bytes(mutant)


def misstated(data, rng):
    """Sound JSON in which a value here and there is something else, has another name or is gone."""
    values = copy.deepcopy(json.loads(data))
    for _ in range(int(rng.integers(1, 4))):
        holder = values
        while isinstance(holder, dict | list) and holder:
            keys = list(holder) if isinstance(holder, dict) else range(len(holder))
            key = keys[int(rng.integers(len(keys)))]
            inner = holder[key]
            if not (isinstance(inner, dict | list) and inner) or rng.random() < 0.15:
                match rng.integers(4):
                    case 0:
                        del holder[key]
                    case 1 if isinstance(holder, dict):
                        holder[str(NASTY[int(rng.integers(len(NASTY)))])] = holder.pop(key)
                    case _:
                        holder[key] = copy.deepcopy(NASTY[int(rng.integers(len(NASTY)))])
                break
            holder = inner
    return json.dumps(values).encode()
