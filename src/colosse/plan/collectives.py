"""Seconds of collectives: latency and bandwidth, inside a scale-up domain and between domains. All on columns."""

from __future__ import annotations

import numpy as np

from colosse.plan.parameters import Parameters
from colosse.plan.points import Column, Points

NEIGHBOUR_S = 1e-6
"""To hand a piece to the next rank of a ring in the same domain."""


def rate(points: Points, par: Parameters, ranks: Column, stride: Column) -> Column:
    """Bytes per second that each rank of a group moves in a ring.

    Args:
        points: the jobs.
        par: parameters.
        ranks: members of the group.
        stride: distance in rank between neighbours: groups of stride 8 in nodes of 8 have one member in each, and share
            the node's cards with seven others.

    Inside a domain the links; across, the cards of the members that are in one domain, which work for each other, less
    the fabric's oversubscription where the group spans pods.
    """
    link = points.link_rate * par.link_rate
    local = np.clip(points.domain / stride, 1.0, ranks)
    spans = ranks * stride > points.domain
    narrow = np.where(ranks * stride > points.pod, points.oversubscription, 1.0)
    nic = points.nic_rate * par.nic_rate * local / narrow
    return np.where(spans, np.minimum(link, np.maximum(nic, 1.0)), link)


def gather(points: Points, par: Parameters, moved: Column, ranks: Column, stride: Column) -> Column:
    """Seconds of an all-gather of `moved` bytes in all (on every rank afterwards), or of a reduce-scatter of as many.

    In a ring, as NCCL has them: a piece passes every rank, so that latency grows with their number.
    """
    domains = np.ceil(ranks * np.minimum(stride / points.domain, 1.0))
    around = (domains - 1) * points.latency + (ranks - domains) * NEIGHBOUR_S
    latency = par.hop_s + around
    return np.where(ranks > 1, latency + moved * (ranks - 1) / ranks / rate(points, par, ranks, stride), 0.0)


def all_reduce(points: Points, par: Parameters, moved: Column, ranks: Column, stride: Column) -> Column:
    """Seconds to sum `moved` bytes over a group, by the fastest of the algorithms that the hardware has.

    A ring passes everything twice; a pair of trees (NCCL's double binary tree) too, but its latency grows with the
    logarithm of the domains; switches that add up (NVLink SHARP in a domain, SHARP between domains) receive everything
    once and send the sum back at the same time.
    """
    speed = rate(points, par, ranks, stride)
    domains = np.ceil(ranks * np.minimum(stride / points.domain, 1.0))
    levels = 2 * np.ceil(np.log2(np.maximum(domains, 1.0)))
    inside = (ranks / domains - 1) * NEIGHBOUR_S
    tree = par.hop_s + levels * points.latency + 2 * inside + 2 * moved / speed
    switched = par.hop_s + np.where(domains > 1, 2 * points.latency, 0.0) + moved / speed
    best = np.minimum(2 * gather(points, par, moved, ranks, stride), tree)
    adds = np.where(domains > 1, points.fabric_reduces, points.link_reduces)
    return np.where(ranks > 1, np.where(adds > 0, np.minimum(best, switched), best), 0.0)


def all_to_all(points: Points, par: Parameters, moved: Column, ranks: Column, stride: Column) -> Column:
    """Seconds of an exchange in which each rank sends `moved` bytes, evenly to all members.

    What stays in the domain goes over its links, the rest over the rank's own card, at the same time.
    """
    local = np.clip(points.domain / stride, 1.0, ranks)
    inside = moved * (local - 1) / ranks / (points.link_rate * par.link_rate)
    narrow = np.where(ranks * stride > points.pod, points.oversubscription, 1.0)
    outside = moved * (ranks - local) / ranks / np.maximum(points.nic_rate * par.nic_rate, 1.0) * narrow
    latency = par.hop_s + np.where(ranks > local, points.latency, 0.0)
    return np.where(ranks > 1, latency + np.maximum(inside, outside), 0.0)


def send(points: Points, par: Parameters, moved: Column, stride: Column) -> Column:
    """Seconds to hand `moved` bytes to a neighbour at this distance in rank."""
    outside = stride >= points.domain
    speed = np.where(outside, points.nic_rate * par.nic_rate, points.link_rate * par.link_rate)
    return np.where(outside, points.latency, par.hop_s) + moved / np.maximum(speed, 1.0)
