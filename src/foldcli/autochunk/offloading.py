"""Offloading: values that rest for a while, such as the MSA while pairs are updated, wait in host memory.

The graph gets a call that parks such a value after one use and a call that fetches it before the next.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from foldcli.autochunk.graph import Call, Graph, Ref, mapped
from foldcli.autochunk.host_memory import fetch, park
from foldcli.autochunk.liveness import Program

# Values smaller than 1/64 of the largest stay, and those that are used again within so many calls: the loops that read
# them would be cut apart. Before a value's first use there are none.
SMALL, REST = 64, 8
Gap = tuple[int, int]


def offload(program: Program, share: float) -> tuple[Graph, int]:
    """The graph with resting values parked, and how many bytes of host memory these take.

    share: of the bytes of the largest that rests; no larger value is parked.
    """
    graph, fresh = program.shaped.graph, itertools.count(program.shaped.graph.next_value)
    resting = {value: gaps for value in program.storages if (gaps := list(_gaps(program, value)))}
    largest = max((program.storages[value].bytes for value in resting), default=0)
    starts, ends = defaultdict[int, list[Gap]](list), defaultdict[int, list[Gap]](list)
    taken = 0
    for value, gaps in resting.items():
        if largest / SMALL < program.storages[value].bytes <= share * largest:
            taken += program.storages[value].bytes
            for start, end in gaps:
                if start < 0 and end <= REST and program.storages[value].bytes == largest:
                    continue  # nothing larger is used meanwhile
                parked = next(fresh)
                starts[start].append((value, parked))
                ends[end].append((value, parked))
    now: dict[int, int] = {}  # the value that stands for another since it was fetched
    calls: list[Call] = []

    def renamed(leaf: Any) -> Any:
        return Ref(now.get(leaf.value, leaf.value)) if isinstance(leaf, Ref) else leaf

    for index in range(-1, len(graph.calls) + 1):
        for value, parked in ends[index]:
            now[value] = next(fresh)
            calls.append(Call(fetch, (Ref(parked), program.spec(value).device), {}, (now[value],)))
        if 0 <= index < len(graph.calls):
            call = graph.calls[index]
            calls.append(replace(call, args=mapped(renamed, call.args), kwargs=mapped(renamed, dict(call.kwargs))))
        calls += [Call(park, (renamed(Ref(value)),), {}, (parked,)) for value, parked in starts[index]]
    return replace(graph, calls=tuple(calls), output=mapped(renamed, graph.output)), taken


def _gaps(program: Program, value: int) -> Iterator[Gap]:
    """The pairs of calls between which a value is alive and not used, for long enough.

    None where it has views that outlive a gap, or where a call may write into it.
    """
    aliases = program.aliases[value]
    used = {i for v in aliases for i in (*program.users[v], program.producer.get(v, -1))}
    if set(aliases) & set(program.shaped.graph.outputs):
        used.add(len(program.calls))
    pinned = any(program.calls[i].pinned for i in used if 0 <= i < len(program.calls))
    for start, end in itertools.pairwise(sorted(used)):
        later = (v for v in aliases if v != value and program.producer.get(v, -1) <= start)
        across = any(max(program.users[v], default=-1) >= end or v in program.shaped.graph.outputs for v in later)
        if end - start > (REST if start >= 0 else 1) and not across and not pinned:
            yield start, end
