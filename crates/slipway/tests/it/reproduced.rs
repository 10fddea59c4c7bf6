//! `slipway build --verify-reproducible`: which steps do not come to the same files twice, and why.

use crate::site::{Site, busybox_flag, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("what_depends_on_its_surroundings_is_found", what_depends_on_its_surroundings_is_found),
    test("what_depends_on_the_order_of_folders_is_found", what_depends_on_the_order_of_folders_is_found),
    test("what_does_not_passes_and_is_exported", what_does_not_passes_and_is_exported),
    test("times_of_files_count_where_they_are_kept", times_of_files_count_where_they_are_kept),
    test("a_step_of_another_stage_is_compared_as_well", a_step_of_another_stage_is_compared_as_well),
    test("the_first_build_may_come_from_the_cache", the_first_build_may_come_from_the_cache),
    test("standard_input_cannot_be_read_twice", standard_input_cannot_be_read_twice),
];

const VERIFY: &str = "--verify-reproducible";
/// With these, no file of the output is younger than 2001.
const WITHOUT_TIMES: [&str; 2] =
    ["--build-arg=SOURCE_DATE_EPOCH=1000000000", "--output=type=oci,dest=../image.tar,rewrite-timestamp=true"];

fn what_depends_on_its_surroundings_is_found() {
    let site = Site::new(
        "FROM busybox
         RUN date +%s > /date
         RUN hostname > /host
         RUN echo always the same > /same && echo $$ > /pid
         RUN seq 500 | shuf > /order
         RUN head -c 9 /dev/urandom > /random
         RUN nproc > /processors
        ",
    );
    let stderr = site.build(&[&WITHOUT_TIMES[..], &[VERIFY]].concat()).failure();
    for expected in [
        "[1/7] RUN date +%s > /date (line 2)\n    /date: its content differs from byte ",
        "[2/7] RUN hostname > /host (line 3)\n    /host: its content differs from byte 0 on: the host name\n",
        "[4/7] RUN seq 500 | shuf > /order (line 5)\n    /order: its content differs from byte ",
        " on: the same lines in another order\n",
        " on: the time\n",
        "/random: its content differs from byte ",
    ] {
        assert!(stderr.contains(expected), "{expected} is not in {stderr}");
    }
    assert!(!stderr.contains("/same:") && !stderr.contains("/pid:"), "{stderr}");
    if std::thread::available_parallelism().unwrap().get() > 1 {
        let expected = "/processors: its content differs from byte 0 on: the number of processors\n";
        assert!(stderr.contains(expected), "{stderr}");
    }
    // The first build is written, whatever came of the second.
    assert!(site.path("image.tar").is_file());
    site.assert_tidy();
}

/// Whatever the file system is, and whoever builds: what is told apart is what the step makes of the order.
fn what_depends_on_the_order_of_folders_is_found() {
    let site = Site::new(
        "FROM busybox
         COPY d /d
         RUN mkdir /own && echo a > /own/a && echo b > /own/b
         RUN find /d > /listed && find /own | sort > /sorted
         RUN find /own -type f -exec cat {} + | md5sum > /sum
         RUN cp $(find /own -type f | head -1) /first
         RUN find /d | shuf > /shuffled && seq 500 | shuf >> /shuffled
        ",
    );
    for name in ["one", "two", "three"] {
        site.write(&format!("d/{name}"), name);
    }
    for sandbox in ["", "single-id"] {
        let mut command = site.build_command(&[&WITHOUT_TIMES[..], &[VERIFY, "."]].concat());
        let stderr = run(command.env("SLIPWAY_SANDBOX", sandbox)).failure();
        let told = |path: &str| {
            let line = stderr.lines().find(|line| line.starts_with(&format!("    /{path}: its content differs")));
            line.unwrap_or_else(|| panic!("{path} is not in {stderr}"))
                .ends_with(", because it depends on directory order")
        };
        assert_eq!(["listed", "sum", "first", "shuffled"].map(told), [true, true, true, false], "{stderr}");
        assert!(stderr.contains("Not reproducible: 4 steps"), "{stderr}");
        assert!(!stderr.contains("/sorted:") && !stderr.contains("    /own"), "{stderr}");
    }
    site.assert_tidy();
}

fn what_does_not_passes_and_is_exported() {
    let site = Site::new(
        "FROM busybox\nCOPY a /d/\nWORKDIR /w\nRUN sort /d/a > sorted && ln -s sorted link && find /d | sort > all\n",
    );
    site.write("a", "b\na\n");
    let stderr = site.build(&[&WITHOUT_TIMES[..], &[VERIFY]].concat()).success().stderr;
    assert!(stderr.contains("Reproducible: 3 steps came to the same files twice."), "{stderr}");
    let (once, twice) = (site.path("image.tar"), site.path("again.tar"));
    std::fs::rename(&once, &twice).unwrap();
    site.build(&WITHOUT_TIMES).success();
    assert_eq!(std::fs::read(once).unwrap(), std::fs::read(twice).unwrap());
}

fn times_of_files_count_where_they_are_kept() {
    let site = Site::new("FROM busybox\nRUN echo > /made\n");
    let stderr = site.build(&[VERIFY, "--output=type=oci,dest=../image.tar"]).failure();
    assert!(stderr.contains("    /made: only its time differs\n"), "{stderr}");
    assert!(stderr.contains("rewrite-timestamp=true"), "{stderr}");
}

fn a_step_of_another_stage_is_compared_as_well() {
    let site =
        Site::new("FROM busybox AS make\nRUN date +%s > /n\nRUN echo > /m\nFROM scratch\nCOPY --from=make /m /\n");
    let stderr = site.build(&[&WITHOUT_TIMES[..], &[VERIFY]].concat()).failure();
    assert!(stderr.contains("[make 1/3] RUN date +%s > /n (line 2)\n    /n: "), "{stderr}");
    assert!(stderr.contains("Not reproducible: 1 steps"), "{stderr}");
}

fn the_first_build_may_come_from_the_cache() {
    let site = Site::new("FROM busybox\nRUN date +%s > /date\n");
    site.build(&WITHOUT_TIMES).success();
    let stderr = site.build(&[&WITHOUT_TIMES[..], &[VERIFY]].concat()).failure();
    assert!(stderr.contains("/date: its content differs"), "{stderr}");
    // What the second build made is in nobody's way.
    let again = site.build(&WITHOUT_TIMES).success().steps();
    assert!(again.ran.iter().all(|step| !step.contains("RUN")), "{again:?}");
}

fn standard_input_cannot_be_read_twice() {
    let site = Site::new("");
    let stderr = run(site.slipway().args(["build", VERIFY, &busybox_flag(), "-"])).failure();
    assert!(stderr.contains("standard input can be read once"), "{stderr}");
}
