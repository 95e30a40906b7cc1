"""A Timeline as text that a person can check."""

from itertools import pairwise

from tmtrain.lowering.timeline import Timeline
from tmtrain.trace import Trace


def dump_timeline(timeline: Timeline, trace: Trace) -> str:
    """Write one line per slice: what it reads (r), overwrites (w), updates (rw), and in which slice each is needed next.

    An extent is ``STORAGE[FIRST:END]`` in pages; ``>5`` is the next slice that needs the content, ``>5'`` one of the
    next step, ``.`` none. ``-NAME`` is freed after the slice.
    """
    width = max(len(name) for name in timeline.operator_names)
    ptr, frees = timeline.accesses.ptr.tolist(), timeline.frees.ptr.tolist()
    lines = [
        f"{len(timeline.slices)} slices, {timeline.fast_pages} pages of {timeline.page_bytes} bytes",
        "",
    ]
    for t, ((low, high), (first, last)) in enumerate(zip(pairwise(ptr), pairwise(frees), strict=True)):
        op = int(timeline.slices.op[t])
        words = [_access(timeline, trace, row, t) for row in range(low, high)]
        words += [f"-{_extent(timeline, trace, int(e))}" for e in timeline.frees.extent[first:last]]
        lines.append(f"{t:3} {op:3} {timeline.operator_names[op]:{width}}  {'  '.join(words)}")
    return "\n".join(lines) + "\n"


def _access(timeline: Timeline, trace: Trace, row: int, t: int) -> str:
    access = timeline.accesses
    how = ("r" if access.needs_content[row] else "") + ("w" if access.writes[row] else "")
    following = int(access.next_slice[row])
    then = "." if following < 0 else f">{following}" + ("'" if following <= t else "")
    return f"{_extent(timeline, trace, int(access.extent[row]))}:{how}{then}"


def _extent(timeline: Timeline, trace: Trace, extent: int) -> str:
    e = timeline.extents
    name = trace.storages.name[e.storage[extent]]
    pages = int((e.pages[e.storage == e.storage[extent]]).sum())
    first, end = int(e.first_page[extent]), int(e.first_page[extent] + e.pages[extent])
    return name if (first, end) == (0, pages) else f"{name}[{first}:{end}]"
