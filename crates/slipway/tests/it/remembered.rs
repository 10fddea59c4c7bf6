//! How much memory a build takes does not depend on how much the store remembers.

use std::process::Command;

use slipway_oci::Digest;

use crate::site::{SLIPWAY, Site, busybox_flag, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] =
    &[test("memory_is_flat_in_the_number_of_records", memory_is_flat_in_the_number_of_records)];

/// With a digest each, they would take twice as much as the difference that is allowed.
const N_RECORDS: usize = 200_000;
const STEP_KIB: u64 = 4 << 10;

/// The smallest number of KiB, in steps, that a build gets along with (`RLIMIT_DATA`).
fn needed_kib(site: &Site) -> u64 {
    let is_enough = |kib: u64| {
        let mut command = site.with_own_environment(Command::new("sh"));
        command.args(["-c", &format!("ulimit -d {kib} && exec \"$@\""), "sh", SLIPWAY, "build", &busybox_flag(), "."]);
        run(&mut command).exit_code == Some(0)
    };
    let enough = (1..64).map(|n_steps| n_steps * STEP_KIB).find(|kib| is_enough(*kib));
    enough.expect("256 MiB are enough for a build that has nothing to do")
}

fn memory_is_flat_in_the_number_of_records() {
    let site = Site::new("FROM busybox\nRUN echo made > /made\n");
    site.build(&[]).success();
    let before = needed_kib(&site);
    let store = site.store();
    let active = store.begin(None).unwrap();
    let snapshot = active.commit(1).unwrap();
    let keys: Vec<Digest> = (0..N_RECORDS).map(|n| Digest::of(&n.to_le_bytes())).collect();
    store.record(&keys, snapshot.id(), None).unwrap();
    drop((snapshot, store));
    let after = needed_kib(&site);
    assert!(after <= before + 2 * STEP_KIB, "{before} KiB were enough, now it is {after} KiB");
    let steps = site.build(&[]).success().steps();
    assert_eq!(steps.ran, Vec::<String>::new());
}
