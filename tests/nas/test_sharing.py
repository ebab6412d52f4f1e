"""Shares of a cluster: all workers find a place, by placing them one after another; more threads would not fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.executors.sharing import Node, Share, share
from search_spaces.errors import InputError

NODES = st.lists(st.builds(Node, st.integers(0, 9), st.integers(0, 3)), max_size=4)


def placed(nodes, threads, gpu, workers):
    """How many workers of so many threads and such a share of a GPU find a place, each where the first one is."""
    cpus, gpus = [node.cpus for node in nodes], [[1.0] * node.gpus for node in nodes]
    for done in range(workers):
        for i in range(len(nodes)):
            free = [j for j, left in enumerate(gpus[i]) if left >= gpu - 1e-9]
            if cpus[i] >= threads and (free or not gpu):
                cpus[i] -= threads
                if gpu:
                    gpus[i][free[0]] -= gpu
                break
        else:
            return done
    return workers


@given(NODES, st.none() | st.integers(1, 12))
def test_all_workers_find_a_place_and_with_another_thread_they_would_not(nodes, workers):
    try:
        each = share(nodes, workers)
    except InputError:
        able = [n.cpus for n in nodes if n.gpus] if any(n.gpus for n in nodes) else [n.cpus for n in nodes]
        assert sum(able) < (workers or 1)
        return
    assert each.workers == (workers or each.workers)
    assert (each.gpu > 0) == any(node.gpus for node in nodes)
    assert placed(nodes, each.threads, each.gpu, each.workers) == each.workers
    assert placed(nodes, each.threads + 1, each.gpu, each.workers) < each.workers


def test_known_clusters():
    assert share([Node(1), Node(1)]) == Share(2, 1, 0.0)
    assert share([Node(8), Node(4)]) == Share(12, 1, 0.0)
    assert share([Node(8), Node(4)], 3) == Share(3, 4, 0.0)
    assert share([Node(8), Node(4)], 2) == Share(2, 4, 0.0)
    assert share([Node(16), Node(8, 1), Node(8, 1)]) == Share(2, 8, 1.0)
    assert share([Node(8, 1), Node(8, 1)], 3) == Share(3, 4, 0.5)


@pytest.mark.parametrize(("nodes", "workers"), [([Node(1), Node(1)], 3), ([Node(0)], None), ([], None)])
def test_more_workers_than_processors_are_refused(nodes, workers):
    room = sum(node.cpus for node in nodes)
    with pytest.raises(InputError, match=f"processors for {room} parallel workers, not for {workers or 1}"):
        share(nodes, workers)
