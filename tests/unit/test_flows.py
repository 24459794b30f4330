"""Max-min fair rates by hand, and what happens as activities come, end, and resources change."""

import math

import pytest

from sim.errors import PlanError
from sim.flows import Activity, Fluid

EXACT = 1e-9


def play(fluid: Fluid, until_s: float = math.inf) -> dict[object, float]:
    """Ends of all activities, if nothing else happens."""
    ends: dict[object, float] = {}
    while (end_s := fluid.next_end_s()) <= until_s and end_s < math.inf:
        fluid.check()
        for activity in fluid.end_due(end_s):
            ends[activity.what] = end_s
    return ends


def test_a_gigabyte_over_eight_gigabits_a_second_takes_a_second() -> None:
    fluid = Fluid()
    link = fluid.resource("link", 8e9 / 8)
    fluid.add(1e9, [link], 0.0, what="a")
    assert play(fluid) == {"a": pytest.approx(1.0, rel=EXACT)}


def test_two_share_a_link_and_the_second_goes_on_alone() -> None:
    """100 and 300 units on 10 a second: both at 5 until 20 s, then 200 left at 10 until 40 s."""
    fluid = Fluid()
    link = fluid.resource("link", 10.0)
    for size in (100.0, 300.0):
        fluid.add(size, [link], 0.0, what=size)
    assert play(fluid) == {100.0: pytest.approx(20.0, rel=EXACT), 300.0: pytest.approx(40.0, rel=EXACT)}
    assert fluid.moved(link, 40.0) == pytest.approx(400.0, rel=EXACT)


def test_the_classic_line_of_links() -> None:
    """Bertsekas and Gallager's example in kind: three links of 1, one long flow, and two on the middle one.

    The middle link gives each of its three a third; the others on the outer links take what is left.
    """
    fluid = Fluid()
    a, b, c = (fluid.resource(name, 1.0) for name in "abc")
    long = fluid.add(1.0, [a, b, c], 0.0)
    on_a, on_b, more_on_b, on_c = (fluid.add(1.0, [link], 0.0) for link in (a, b, b, c))
    rates = [fluid.rate(each) for each in (long, on_a, on_b, more_on_b, on_c)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1 / 3, 1 / 3, 2 / 3], rel=EXACT)
    fluid.check()


def test_weights_caps_and_usages() -> None:
    fluid = Fluid()
    disk = fluid.resource("disk", 12.0)
    heavy = fluid.add(1e3, [disk], 0.0, weight=2.0)
    light = fluid.add(1e3, [disk], 0.0)
    assert [fluid.rate(heavy), fluid.rate(light)] == pytest.approx([8.0, 4.0], rel=EXACT)
    capped = fluid.add(1e3, [disk], 0.0, cap=1.5)
    assert [fluid.rate(each) for each in (heavy, light, capped)] == pytest.approx([7.0, 3.5, 1.5], rel=EXACT)
    # replicated three times: each unit of it takes three of the disk
    thrice = fluid.add(1e3, {disk: 3.0}, 0.0)
    # the capped one takes 1.5, and 10.5 are shared by 2 + 1 + 3 weights
    rates = [fluid.rate(each) for each in (heavy, light, capped, thrice)]
    assert rates == pytest.approx([3.5, 1.75, 1.5, 1.75], rel=EXACT)
    fluid.check()


def test_one_on_two_resources_is_as_fast_as_the_slower() -> None:
    fluid = Fluid()
    device, card = fluid.resource("device", 3.0), fluid.resource("card", 5.0)
    read = fluid.add(30.0, [device, card], 0.0)
    assert fluid.rate(read) == 3.0
    fluid.set_capacity(device, 30.0, 1.0)
    assert fluid.rate(read) == 5.0
    assert fluid.left(read, 1.0) == pytest.approx(27.0, rel=EXACT)
    assert fluid.next_end_s() == pytest.approx(1.0 + 27 / 5, rel=EXACT)


def test_it_speeds_up_again_when_the_other_leaves() -> None:
    fluid = Fluid()
    spine = fluid.resource("spine", 10.0)
    job, other = fluid.add(1e3, [spine], 0.0), fluid.add(math.inf, [spine], 0.0)
    assert fluid.rate(job) == 5.0
    assert fluid.remove(other, 4.0) == math.inf
    assert fluid.rate(job) == 10.0
    assert fluid.left(job, 4.0) == pytest.approx(980.0, rel=EXACT)


def test_a_link_that_fails_stops_all_on_it_until_it_is_back() -> None:
    fluid = Fluid()
    link = fluid.resource("link", 10.0)
    flow = fluid.add(100.0, [link], 0.0)
    fluid.set_capacity(link, 0.0, 5.0)
    assert fluid.rate(flow) == 0.0
    assert fluid.next_end_s() == math.inf
    fluid.set_capacity(link, 20.0, 8.0)
    assert fluid.next_end_s() == pytest.approx(8.0 + 50 / 20, rel=EXACT)
    fluid.set_capacity(link, 5.0, 9.0)
    assert fluid.next_end_s() == pytest.approx(9.0 + 30 / 5, rel=EXACT)


def test_who_comes_late_takes_from_the_fastest_first() -> None:
    """The newcomer's share is found among those that go faster than it would; a slow one stays as it is."""
    fluid = Fluid()
    wide, narrow = fluid.resource("wide", 100.0), fluid.resource("narrow", 1.0)
    slow, fast = fluid.add(1e3, [wide, narrow], 0.0), fluid.add(1e3, [wide], 0.0)
    assert [fluid.rate(slow), fluid.rate(fast)] == [1.0, 99.0]
    solved = fluid.solved
    new = fluid.add(1e3, [wide], 0.0)
    assert [fluid.rate(each) for each in (slow, fast, new)] == pytest.approx([1.0, 49.5, 49.5], rel=EXACT)
    assert (
        fluid.solved == solved + 1
    )  # the two that share alike are one bundle, and the slow one is left alone


def test_a_chain_of_effects_is_followed_to_its_end() -> None:
    """One leaves the first link: its neighbour speeds up and slows the next, who leaves more to the third."""
    fluid = Fluid()
    links = [fluid.resource(f"link{n}", 10.0) for n in range(4)]
    leaving = fluid.add(1e3, [links[0]], 0.0)
    chain = [fluid.add(1e3, [links[n], links[n + 1]], 0.0) for n in range(3)]
    last = fluid.add(1e3, [links[3]], 0.0)
    assert [fluid.rate(each) for each in chain] == pytest.approx([5.0, 5.0, 5.0], rel=EXACT)
    assert fluid.rate(last) == pytest.approx(5.0, rel=EXACT)
    extra = fluid.add(1e3, [links[1]], 0.0)
    fluid.check()
    fluid.remove(leaving, 0.0)
    fluid.check()
    fluid.remove(extra, 0.0)
    fluid.check()
    assert [fluid.rate(each) for each in chain] == pytest.approx([5.0, 5.0, 5.0], rel=EXACT)


def test_what_ends_together_ends_by_priority_and_then_by_age() -> None:
    fluid = Fluid()
    link = fluid.resource("link", 10.0)
    for what, priority in (("late", 1), ("first", 0), ("second", 0)):
        fluid.add(10.0, [link], 0.0, priority=priority, what=what)
    (end_s,) = {fluid.next_end_s()}
    assert [each.what for each in fluid.end_due(end_s)] == ["first", "second", "late"]
    assert fluid.next_end_s() == math.inf


def test_nothing_to_do_ends_at_once_and_dust_does_not_loop() -> None:
    fluid = Fluid()
    link = fluid.resource("link", 3.0)
    fluid.add(0.0, [link], 1.0, what="nothing")
    assert fluid.next_end_s() == 1.0
    assert [each.what for each in fluid.end_due(1.0)] == ["nothing"]
    # thirds and sevenths never add up: what is left of them by rounding must not be played for ever
    for n in range(50):
        fluid.add(1e10 / (3 + n), [link], 1.0 + n / 7, what=n)
        fluid.next_end_s()
    events = 0
    while (end_s := fluid.next_end_s()) < math.inf:
        events += 1
        assert fluid.end_due(end_s)
    assert events <= 50


def test_only_a_cap_limits_what_needs_no_resource() -> None:
    fluid = Fluid()
    compute = fluid.add(10.0, [], 0.0, cap=2.0, what="compute")
    assert fluid.rate(compute) == 2.0
    assert play(fluid) == {"compute": 5.0}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"amount": -1.0}, "amount of 0 or more"),
        ({"amount": math.nan}, "amount of 0 or more"),
        ({"weight": 0.0}, "finite weight"),
        ({"weight": math.inf}, "finite weight"),
        ({"cap": 0.0}, "cap above 0"),
        ({"usages": [1]}, "there is no resource 1"),
        ({"usages": {0: -1.0}}, "is not 0 or more"),
        ({"usages": []}, "nothing limits its rate"),
        ({"usages": {0: 0.0}}, "nothing limits its rate"),
    ],
)
def test_impossible_activities_are_refused(arguments: dict[str, object], told: str) -> None:
    fluid = Fluid()
    fluid.resource("link", 1.0)
    usual: dict[str, object] = {"amount": 1.0, "usages": [0]} | arguments
    amount, usages = usual.pop("amount"), usual.pop("usages")
    with pytest.raises(PlanError, match=told):
        fluid.add(amount, usages, 0.0, **usual)  # type: ignore[arg-type]


def test_impossible_resources_and_activities_that_ended_are_refused() -> None:
    fluid = Fluid()
    with pytest.raises(PlanError, match="spine needs a capacity of 0 or more"):
        fluid.resource("spine", -1.0)
    with pytest.raises(PlanError, match="finite"):
        fluid.resource("spine", math.inf)
    link = fluid.resource("link", 1.0)
    flow: Activity = fluid.add(1.0, [link], 0.0)
    fluid.remove(flow, 0.5)
    assert fluid.rate(flow) == 0.0
    with pytest.raises(PlanError, match="has ended already"):
        fluid.remove(flow, 0.5)
    with pytest.raises(PlanError, match="has ended already"):
        fluid.left(flow, 0.5)


def test_a_weight_that_is_nothing_beside_another_still_gets_what_is_left() -> None:
    """One of weight 1 is capped at 0.5 of a resource of 2; one of weight 1e-14 has the other 1.5."""
    fluid = Fluid()
    both, other = fluid.resource("both", 2.0), fluid.resource("other", 10.0)
    heavy = fluid.add(1.0, [both, other], 0.0, cap=0.5)
    light = fluid.add(3.0, [both, other], 0.0, weight=1e-14)
    assert [fluid.rate(heavy), fluid.rate(light)] == pytest.approx([0.5, 1.5], rel=EXACT)
    assert fluid.next_end_s() == pytest.approx(2.0, rel=EXACT)


def test_what_was_used_stays_exact_over_many_changes() -> None:
    """Rates are what they are from nothing, and bytes what was sent, after thousands of changes."""
    fluid = Fluid()
    link = fluid.resource("link", 1e10)
    slow = [fluid.add(math.inf, [link], 0.0, cap=1e9 / 3 * (1 + number), what=number) for number in range(5)]
    for step in range(5000):
        fluid.remove(fluid.add(1e12, [link], step * 1.0, cap=7e8, what="guest"), step + 0.5)
    left = 1e10 - sum(min(1e9 / 3 * (1 + number), 1e10) for number in range(5))
    assert fluid.used(link) == pytest.approx(1e10 - left, rel=1e-12)
    fluid.check()
    assert fluid.moved(link, 5000.0) == pytest.approx(5000 * (1e10 - left) + 2500 * 7e8, rel=1e-9)
    assert fluid.rate(slow[0]) == pytest.approx(1e9 / 3)


def test_ends_that_come_nearer_and_go_farther_are_met() -> None:
    """20, 5, 4 and 24 of 100 units are done by 8 s, and the other 47 at 10 a second by 12.7 s."""
    fluid = Fluid()
    link = fluid.resource("link", 10.0)
    fluid.add(100.0, [link], 0.0, what="a")
    for at_s, capacity, end_s in (
        (2.0, 5.0, 18.0),
        (3.0, 4.0, 21.75),
        (4.0, 6.0, 15.833333333),
        (8.0, 10.0, 12.7),
    ):
        assert fluid.next_end_s() > at_s
        fluid.set_capacity(link, capacity, at_s)
        assert fluid.next_end_s() == pytest.approx(end_s, rel=1e-9)
    assert play(fluid) == {"a": pytest.approx(12.7, rel=EXACT)}
