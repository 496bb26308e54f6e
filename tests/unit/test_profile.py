"""Reading the scheduler's trace of one ``docker run``."""

from labkit.engine.embedded.profile import read_trace

TRACE = """\
# tracer: nop
          <idle>-0       [000] d..2.   10.000000: sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=dockerd next_pid=7 next_prio=120
          <idle>-0       [001] d..2.   10.100000: sched_switch: prev_comm=swapper/1 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=sh -c x next_pid=9 next_prio=120
            crun-12      [001] .....   10.200000: sched_process_exec: filename=/usr/bin/crun pid=12 old_pid=12
         dockerd-7       [000] d..2.   10.250000: sched_switch: prev_comm=dockerd prev_pid=7 prev_prio=120 prev_state=S ==> next_comm=swapper/0 next_pid=0 next_prio=120
         sh -c x-9       [001] d..2.   10.400000: sched_switch: prev_comm=sh -c x prev_pid=9 prev_prio=120 prev_state=S ==> next_comm=dockerd next_pid=8 next_prio=120
         dockerd-8       [001] d..2.   10.500000: sched_switch: prev_comm=dockerd prev_pid=8 prev_prio=120 prev_state=S ==> next_comm=swapper/1 next_pid=0 next_prio=120
          <idle>-0       [000] d..2.   10.900000: sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=dockerd next_pid=7 next_prio=120
"""


def test_each_programs_time_on_a_processor_is_added_up_and_an_idle_one_is_none():
    found = read_trace(TRACE)
    assert {name: round(seconds, 6) for name, seconds in found["on_processor"].items()} == {
        "dockerd": 0.35,
        "sh -c x": 0.3,
    }
    assert found["switches_to"]["dockerd"] == 3
    assert found["started"] == {"crun": 1}
