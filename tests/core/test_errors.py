import re
from collections.abc import Iterator

import pytest

from s2mirror import errors
from s2mirror.errors import MirrorError, PreviewUnavailable, StoreBusy

_LINE = re.compile(r"^((?:│   |    )*)[├└]── (\w+) +(\S.*)$")


def drawn() -> Iterator[tuple[str, str, str]]:
    """Yield each class of the tree at the head of the module: its name, base and note."""
    path = ["MirrorError"]
    for line in (errors.__doc__ or "").splitlines():
        if found := _LINE.match(line):
            depth = 1 + len(found[1]) // 4
            path[depth:] = [found[2]]
            yield found[2], path[depth - 1], found[3]


def descendants(kind: type[MirrorError]) -> Iterator[type[MirrorError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from descendants(child)


CLASSES = {kind.__name__: kind for kind in descendants(MirrorError)}


def test_drawn_tree_is_the_tree_of_classes() -> None:
    assert {name: base for name, base, _ in drawn()} == {
        name: kind.__base__.__name__ for name, kind in CLASSES.items() if kind.__base__
    }


@pytest.mark.parametrize(("name", "base", "note"), list(drawn()))
def test_drawn_notes_say_what_the_attributes_say(name: str, base: str, note: str) -> None:
    kind, parent = CLASSES[name], CLASSES.get(base, MirrorError)
    code = re.search(r"exit (\d+)", note)
    assert kind.exit_code == (int(code[1]) if code else parent.exit_code)
    assert kind.transient == ("transient" in note or parent.transient or name == "Stopped")
    inherited = parent.pauses_everything and "pauses its product only" not in note
    assert kind.pauses_everything == ("pauses everything" in note or inherited)
    blameless = "no product is to blame" in note or kind.pauses_everything
    blameless = blameless or not parent.counts_as_attempt
    assert kind.counts_as_attempt == (not blameless)


def test_error_keeps_the_requested_wait() -> None:
    assert StoreBusy("slow down", retry_after_seconds=3).retry_after_seconds == 3
    assert PreviewUnavailable("busy", retry_after_seconds=3).retry_after_seconds == 3
    assert MirrorError("broken").retry_after_seconds is None
