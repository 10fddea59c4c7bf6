//! Limits of steps: that they hold, that people are told, and that nothing of them stays.

use std::fs;
use std::path::PathBuf;

use slipway_test::capability::Capability;

use crate::Test;
use crate::process::wait_until;
use crate::site::Site;

pub(crate) const TESTS: &[Test] = &[
    Test { name: "too_little_memory_is_named", needs: NEEDS, run: too_little_memory_is_named },
    Test { name: "a_step_sees_its_limits", needs: NEEDS, run: a_step_sees_its_limits },
    Test { name: "version_two_limits_a_step", needs: &[Capability::ControlGroupsTwo], run: version_two_limits_a_step },
    Test { name: "groups_of_a_killed_build_are_removed", needs: NEEDS, run: groups_of_a_killed_build_are_removed },
];

const NEEDS: &[Capability] = &[Capability::ControlGroups];

/// Control groups of the process `number`, wherever in the hierarchies they are.
fn groups_of(number: u32) -> Vec<PathBuf> {
    let prefix = format!("slipway-{number}-");
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            // Groups of other tests may go away meanwhile.
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                found.push(entry.path());
            }
            pending.push(entry.path());
        }
    }
    found
}

fn too_little_memory_is_named() {
    let site = Site::new("FROM busybox\nRUN --network=none tail /dev/zero\n");
    let refused = site.build(&["--memory=32m"]).failure();
    let told = "exit code: 137: the kernel's OOM killer ended it after it had used 32 MiB\n";
    assert!(refused.contains(told), "{refused}");
    assert!(refused.contains("hint: `--memory`"), "{refused}");
    site.assert_tidy();
}

fn a_step_sees_its_limits() {
    // Of version 1 and version 2; a step cannot lift what it sees.
    let site = Site::new(
        "FROM busybox
         RUN --network=none cd /sys/fs/cgroup; \
             cat memory/memory.limit_in_bytes memory.max 2>/dev/null | grep -x 67108864 && \
             cat pids/pids.max pids.max 2>/dev/null | grep -x 20 && \
             for limit in pids/pids.max pids.max; do [ ! -e $limit ] || ! echo 100 > $limit || exit 1; done
         RUN --network=none ! (for i in $(seq 30); do sleep 1000 & done)
        ",
    );
    site.build(&["--memory=64m", "--pids-limit=20", "--resource=cpuset-cpus=0", "--cpus=0.9"]).success();
    site.assert_tidy();
}

/// The other tests take whichever version there is; this one is where version 2 is known to have been tried.
fn version_two_limits_a_step() {
    let site = Site::new("FROM busybox\nRUN --network=none grep -x 67108864 /sys/fs/cgroup/memory.max\n");
    site.build(&["--memory=64m"]).success();
    site.assert_tidy();
}

fn groups_of_a_killed_build_are_removed() {
    let site = Site::new("FROM busybox\nRUN --network=none echo started; sleep <marker>\n");
    let mut build = site.start(&["--memory=64m"]);
    build.wait_for("started\n");
    let number = build.number();
    assert_eq!(groups_of(number).len(), 1);
    build.kill();
    site.wait_until_no_process();
    assert_eq!(groups_of(number).len(), 1, "nobody was left to remove it");
    site.write("Dockerfile", "FROM busybox\nRUN --network=none true\n");
    // The kernel may take a moment to notice that the group is empty.
    wait_until("a later build removes the group", || {
        site.build(&["--no-cache", "--memory=64m"]).success();
        groups_of(number).is_empty()
    });
}
