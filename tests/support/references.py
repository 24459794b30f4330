"""Schedulers written a second time, from their definitions, for one pool in which GPUs are only counted.

They are slow and share no code with the simulator: whenever something ends, comes or sinks they look at all
jobs again. Times are whole seconds, so that nothing is rounded.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Case:
    """A job and what has become of it so far."""

    row: int
    submit_s: float
    duration_s: float
    gpus: int
    priority: int = 0
    left_s: float = 0.0
    had_gpu_s: float = 0.0
    runs: bool = False
    start_s: float = -1.0
    end_s: float = -1.0
    preemptions: int = 0
    began_s: float = -1.0
    level: int = 0
    place: tuple[float, ...] = field(default=())

    def result(self) -> tuple[float, float, int]:
        return self.start_s, self.end_s, self.preemptions


def cases(rows: list[tuple[float, float, int]], priorities: list[int] | None = None) -> list[Case]:
    made = []
    for row, (submit_s, duration_s, gpus) in enumerate(rows):
        priority = 0 if priorities is None else priorities[row]
        made.append(Case(row, submit_s, duration_s, gpus, priority, left_s=duration_s))
    return made


def start(job: Case, now_s: float) -> None:
    job.runs, job.began_s = True, now_s
    if job.start_s < 0:
        job.start_s = now_s


def in_order(jobs: list[Case], gpus: int, key: Callable[[Case], float], *, greedy: bool) -> None:
    """Jobs by a key that never changes; one that does not fit is passed (greedy) or ends it (strict)."""
    now_s = -1.0
    waiting: list[Case] = []
    coming = sorted(jobs, key=lambda job: (job.submit_s, job.row))
    while coming or waiting or any(job.runs for job in jobs):
        running = [job for job in jobs if job.runs]
        now_s = min([job.began_s + job.duration_s for job in running] + [job.submit_s for job in coming[:1]])
        for job in running:
            if job.began_s + job.duration_s == now_s:
                job.runs, job.end_s = False, now_s
        while coming and coming[0].submit_s == now_s:
            waiting.append(coming.pop(0))
        waiting.sort(key=lambda job: (key(job), job.row))
        free = gpus - sum(job.gpus for job in jobs if job.runs)
        for job in list(waiting):
            if job.gpus <= free:
                waiting.remove(job)
                start(job, now_s)
                free -= job.gpus
            elif not greedy:
                break


def by_rank(jobs: list[Case], gpus: int, rank: Callable[[Case], tuple[float, ...]], *, greedy: bool) -> None:
    """Preemptive: at each arrival and completion all jobs, running ones too, get GPUs by rank."""
    now_s = 0.0
    alive: list[Case] = []
    coming = sorted(jobs, key=lambda job: (job.submit_s, job.row))
    while coming or alive:
        ends = [now_s + job.left_s for job in alive if job.runs]
        then_s = min(ends + [job.submit_s for job in coming[:1]])
        for job in alive:
            if job.runs:
                job.left_s -= then_s - now_s
                if job.left_s == 0:
                    job.runs, job.end_s = False, then_s
        now_s = then_s
        alive = [job for job in alive if job.end_s < 0]
        while coming and coming[0].submit_s == now_s:
            alive.append(coming.pop(0))
        free, blocked = gpus, False
        for job in sorted(alive, key=lambda job: (*rank(job), job.row)):
            if job.gpus <= free and (not blocked or greedy):
                free -= job.gpus
                if not job.runs:
                    start(job, now_s)
            elif job.runs:
                job.runs = False
                job.preemptions += 1
            else:
                blocked = True


def las(jobs: list[Case], gpus: int, thresholds: tuple[float, ...]) -> None:  # noqa: C901  told in one piece
    """Levels by GPU-seconds held, greedy. A level is a list: who runs stands before who waits.

    Who sinks joins the tail of the next level at the exact moment; several, in the order of their level. At
    the end of each moment those that run move before those that wait, which keeps the order of both.
    """
    now_s = 0.0
    levels: list[list[Case]] = [[] for _ in range(len(thresholds) + 1)]
    coming = sorted(jobs, key=lambda job: (job.submit_s, job.row))
    while coming or any(levels):
        running = [job for level in levels for job in level if job.runs]
        times = [now_s + job.left_s for job in running] + [job.submit_s for job in coming[:1]]
        times += [
            now_s + (thresholds[job.level] - job.had_gpu_s) / job.gpus
            for job in running
            if job.level < len(thresholds)
        ]
        then_s = min(times)
        for job in running:
            job.left_s -= then_s - now_s
            job.had_gpu_s += (then_s - now_s) * job.gpus
            if job.left_s == 0:
                job.runs, job.end_s = False, then_s
                levels[job.level].remove(job)
        now_s = then_s
        sinking = [
            job
            for job in running
            if job.end_s < 0 and job.level < len(thresholds) and job.had_gpu_s >= thresholds[job.level]
        ]
        for job in sinking:
            levels[job.level].remove(job)
            job.level += 1
            levels[job.level].append(job)
        while coming and coming[0].submit_s == now_s:
            levels[0].append(coming.pop(0))
        free = gpus
        for level in levels:
            for job in level:
                if job.gpus <= free:
                    free -= job.gpus
                    if not job.runs:
                        start(job, now_s)
                elif job.runs:
                    job.runs = False
                    job.preemptions += 1
            level.sort(key=lambda job: not job.runs)


def easy(jobs: list[Case], gpus: int, key: Callable[[Case], float]) -> dict[int, float]:  # noqa: C901  told in one piece
    """EASY with exact estimates. The first start promised to each job that was ever a blocked head."""
    promised: dict[int, float] = {}
    now_s = -1.0
    waiting: list[Case] = []
    head: Case | None = None
    coming = sorted(jobs, key=lambda job: (job.submit_s, job.row))
    while coming or waiting or any(job.runs for job in jobs):
        running = [job for job in jobs if job.runs]
        now_s = min([job.began_s + job.duration_s for job in running] + [job.submit_s for job in coming[:1]])
        for job in running:
            if job.began_s + job.duration_s == now_s:
                job.runs, job.end_s = False, now_s
        while coming and coming[0].submit_s == now_s:
            waiting.append(coming.pop(0))
        waiting.sort(key=lambda job: (job is not head, key(job), job.row))
        free = gpus - sum(job.gpus for job in jobs if job.runs)
        while waiting and waiting[0].gpus <= free:
            job = waiting.pop(0)
            free -= job.gpus
            start(job, now_s)
            head = None
            waiting.sort(key=lambda job: (key(job), job.row))
        if not waiting:
            continue
        head = waiting[0]
        ends = sorted((job.began_s + job.duration_s, job.gpus) for job in jobs if job.runs)
        shadow_s, then_free = math.inf, free
        for end_s, freed in ends:
            then_free += freed
            if then_free >= head.gpus:
                shadow_s = end_s
                break
        promised.setdefault(head.row, shadow_s)
        extra = then_free - head.gpus
        for job in waiting[1:]:
            if job.gpus > free:
                continue
            if now_s + job.duration_s > shadow_s:
                if job.gpus > extra:
                    continue
                extra -= job.gpus
            waiting.remove(job)
            free -= job.gpus
            start(job, now_s)
    return promised


def conservative(jobs: list[Case], gpus: int) -> None:
    """Each job, as it comes, at the earliest time at which its GPUs are free for the whole of its run."""
    used: list[tuple[float, float, int]] = []
    for job in sorted(jobs, key=lambda job: (job.submit_s, job.row)):
        starts = sorted({job.submit_s, *(end_s for _, end_s, _ in used if end_s > job.submit_s)})
        for start_s in starts:
            end_s = start_s + job.duration_s
            edges = [start_s, *(a for a, b, _ in used if start_s < a < end_s)]
            if all(sum(w for a, b, w in used if a <= at < b) + job.gpus <= gpus for at in edges):
                job.start_s, job.end_s = start_s, end_s
                used.append((start_s, end_s, job.gpus))
                break


def multi_server(submits_s: list[float], durations_s: list[float], servers: int) -> list[float]:
    """Waits in a queue of one line and equal servers (the recursion of Kiefer and Wolfowitz)."""
    free_at_s = [0.0] * servers
    heapq.heapify(free_at_s)
    waits_s = []
    for submit_s, duration_s in zip(submits_s, durations_s, strict=True):
        begin_s = max(submit_s, free_at_s[0])
        heapq.heapreplace(free_at_s, begin_s + duration_s)
        waits_s.append(begin_s - submit_s)
    return waits_s
