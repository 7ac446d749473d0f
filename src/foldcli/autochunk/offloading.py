"""Offloading: values that rest for a while, such as the MSA while pairs are updated, wait in host memory.

The graph gets a call that parks such a value after one use and a call that fetches it before the next.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from foldcli.autochunk.graph import Call, Graph, Ref, communicates, is_wait, mapped
from foldcli.autochunk.host_memory import fetch, park
from foldcli.autochunk.liveness import Program

# Values smaller than 1/64 of the largest stay, and those that are used again within so many calls: the loops that read
# them would be cut apart. Before a value's first use there are none.
SMALL, REST = 64, 8
Parked = tuple[int, int]  # a value, and the one that stands for it in host memory


def offload(program: Program, share: float) -> tuple[Graph, int]:
    """The graph with resting values parked, and how many bytes of host memory these take.

    share: of the bytes of the largest that rests; no larger value is parked.
    """
    graph, fresh = program.shaped.graph, itertools.count(program.shaped.graph.next_value)
    resting = {storage: gaps for storage in program.storages if (gaps := list(_gaps(program, storage)))}
    largest = max((program.storages[storage].bytes for storage in resting), default=0)
    starts, ends = defaultdict[int, list[Parked]](list), defaultdict[int, list[Parked]](list)
    taken = 0
    for storage, gaps in resting.items():
        size = program.storages[storage].bytes
        if largest / SMALL < size <= share * largest:
            taken += size
            for value, start, end in gaps:
                if start < 0 and end <= REST and size == largest:
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


def _gaps(program: Program, storage: int) -> Iterator[tuple[int, int, int]]:
    """The one value of a storage that is needed after a while, and the calls before and after that while.

    None where a call may write into the storage, such as a transfer on its way.
    """
    born = program.producer.get(storage, -1)
    if born >= 0 and communicates(program.calls[born].function) and not is_wait(program.calls[born]):
        return
    aliases, outputs = program.aliases[storage], set(program.shaped.graph.outputs)
    last = {v: len(program.calls) if v in outputs else max(program.users[v], default=-1) for v in aliases}
    used = {i for v in aliases for i in (*program.users[v], program.producer.get(v, -1), last[v])}
    used.add(program.sent.get(storage, -1))
    if any(call.pinned and not communicates(call.function) for i, call in enumerate(program.calls) if i in used):
        return
    for start, end in itertools.pairwise(sorted(used)):
        needed = [v for v in aliases if program.producer.get(v, -1) <= start and last[v] >= end]
        if end - start > (REST if start >= 0 else 1) and len(needed) == 1:
            yield needed[0], start, end
