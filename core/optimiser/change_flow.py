"""The cheapest way to send counts through a small network, in whole numbers.

Successive shortest paths: every round finds, for each node, the cheapest way from the source with
what is left of the arcs, and fills all cheapest ways to the sink at once. Of equally cheap ways the
ones with fewest arcs come first, so that the number of rounds does not grow with the counts.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class FlowNetwork:
    """Arcs with room and cost; :meth:`fill` sends as much as possible at the least cost.

    An arc and its reverse stand next to each other: arc ``a`` is undone by arc ``a ^ 1``. Arcs of
    negative cost are allowed as long as no cycle has a negative cost before :meth:`fill`.

    Attributes
    ----------
    head, room, cost
        Per arc: the node it leads to, what it can still take, and the cost of each unit.
    arcs_of
        Per node: the arcs that leave it.
    """

    n_nodes: int
    head: list[int] = field(default_factory=list)
    room: list[int] = field(default_factory=list)
    cost: list[int] = field(default_factory=list)
    arcs_of: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.arcs_of = [[] for _ in range(self.n_nodes)]

    def add(self, tail: int, head: int, room: int, cost: int) -> int:
        """Add an arc, and return its number."""
        arc = len(self.head)
        self.head += [head, tail]
        self.room += [room, 0]
        self.cost += [cost, -cost]
        self.arcs_of[tail].append(arc)
        self.arcs_of[head].append(arc + 1)
        return arc

    def flow(self, arc: int) -> int:
        """Read what an arc was given."""
        return self.room[arc ^ 1]

    def fill(self, source: int, sink: int) -> None:
        """Send as much as possible from source to sink, at the least cost."""
        while True:
            distance = self._distances(source)
            if distance[sink] is None:
                return
            self._fill_shortest(source, sink, distance)

    def reached(self, sources: list[int]) -> set[int]:
        """Nodes to which more could be sent from any of some nodes."""
        found, waiting = set(sources), deque(sources)
        while waiting:
            for arc in self.arcs_of[waiting.popleft()]:
                if self.room[arc] and self.head[arc] not in found:
                    found.add(self.head[arc])
                    waiting.append(self.head[arc])
        return found

    def _length(self, arc: int) -> int:
        """Cost first, then number of arcs: no way is as long as ``n_nodes`` arcs."""
        return self.cost[arc] * self.n_nodes + 1

    def _distances(self, source: int) -> list[int | None]:
        """Length of the shortest way to each node; None where there is no way."""
        distance: list[int | None] = [None] * self.n_nodes
        distance[source] = 0
        waiting, is_waiting = deque([source]), [False] * self.n_nodes
        while waiting:
            node = waiting.popleft()
            is_waiting[node] = False
            start = distance[node] or 0
            for arc in self.arcs_of[node]:
                head, length = self.head[arc], start + self._length(arc)
                known = distance[head]
                if self.room[arc] and (known is None or length < known):
                    distance[head] = length
                    if not is_waiting[head]:
                        is_waiting[head] = True
                        waiting.append(head)
        return distance

    def _fill_shortest(self, source: int, sink: int, distance: list[int | None]) -> None:
        """Fill the shortest ways until none is left; each arc is given up on once."""
        following = [0] * self.n_nodes
        way: list[int] = []
        node = source
        while True:
            if node == sink:
                amount = min(self.room[arc] for arc in way)
                for arc in way:
                    self.room[arc] -= amount
                    self.room[arc ^ 1] += amount
                node, way = source, []
            following_arc = self._next_arc(node, following, distance)
            if following_arc is not None:
                way.append(following_arc)
                node = self.head[following_arc]
            elif way:
                node = self.head[way.pop() ^ 1]
                following[node] += 1
            else:
                return

    def _next_arc(self, node: int, following: list[int], distance: list[int | None]) -> int | None:
        arcs, start = self.arcs_of[node], distance[node] or 0
        while following[node] < len(arcs):
            arc = arcs[following[node]]
            if self.room[arc] and distance[self.head[arc]] == start + self._length(arc):
                return arc
            following[node] += 1
        return None
