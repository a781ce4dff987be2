"""Half-space trees over the values of all keys: how rare an answer is among those of a while ago.

After S. C. Tan, K. M. Ting, T. F. Liu, "Fast anomaly detection for streaming data" (IJCAI 2011), by the library river.
The trees are made by the declaration's seed alone, so only the masses of their nodes are state.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from river.anomaly import HalfSpaceTrees as Trees

from streamproof.core.model_rule import HalfSpaceTrees

_PLACE = "learned"


class HalfSpaceModel:
    """A forest.

    Args:
        rule: the declaration.

    """

    def __init__(self, rule: HalfSpaceTrees) -> None:
        self._names, self._window = rule.values, rule.window
        limits: dict[Any, tuple[float, float]] = {**rule.limits}
        self._trees: Any = Trees(
            n_trees=rule.trees, height=rule.height, window_size=rule.window, limits=limits, seed=rule.seed
        )
        self._learned, self._is_changed = 0, False

    def score(self, key: str, start: int, values: Sequence[float]) -> float | None:  # noqa: ARG002 - one for all keys
        """Return 0 for what is common, up to 1 for what was never seen; None until the first window is learned."""
        if self._learned < self._window:
            return None
        return float(self._trees.score_one(dict(zip(self._names, values, strict=True))))

    def learn(self, key: str, start: int, values: Sequence[float]) -> None:  # noqa: ARG002
        """Take an answer in."""
        self._trees.learn_one(dict(zip(self._names, values, strict=True)))
        self._learned, self._is_changed = self._learned + 1, True

    def changes(self) -> dict[str, object]:
        """Return what has changed of the state since the last call, by its names: all of it, as each answer does."""
        is_changed, self._is_changed = self._is_changed, False
        return self.state() if is_changed else {}

    def state(self) -> dict[str, object]:
        """Return the whole state: how many answers were learned, and the masses of each tree's nodes."""
        masses: dict[str, object] = {
            f"tree {number}": [mass for node in _nodes(tree) for mass in (node.l_mass, node.r_mass)]
            for number, tree in enumerate(self._trees.trees)
        }
        return {_PLACE: self._learned} | masses

    def restore(self, state: Mapping[str, object]) -> None:
        """Take the state that the changes up to some moment make."""
        if not state:
            return
        self._trees.learn_one(dict.fromkeys(self._names, 0.0))  # which makes the trees
        self._learned = int(state[_PLACE])  # type: ignore[call-overload]
        self._trees.counter = self._learned % self._window
        self._trees._first_window = self._learned < self._window
        for number, tree in enumerate(self._trees.trees):
            masses: Any = iter(state[f"tree {number}"])  # type: ignore[call-overload]
            for node in _nodes(tree):
                node.l_mass, node.r_mass = next(masses), next(masses)


def _nodes(tree: Any) -> Iterator[Any]:  # noqa: ANN401 - river's nodes
    return iter(tree.iter_dfs())
