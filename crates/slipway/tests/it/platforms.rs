//! Images for other architectures than the machine's.

use std::collections::BTreeSet;
use std::fs;

use slipway_oci::Digest;
use slipway_test::capability::Capability;
use slipway_test::registry::TestRegistry;

use crate::site::{Outcome, Site, busybox_flag, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    Test { name: "a_foreign_program_runs", needs: &[Capability::Emulator], run: a_foreign_program_runs },
    test("without_an_emulator_people_are_told", without_an_emulator_people_are_told),
    test("a_cross_build_needs_no_emulator", a_cross_build_needs_no_emulator),
    test("a_shared_step_runs_once_for_all_platforms", a_shared_step_runs_once_for_all_platforms),
    test("a_further_platform_costs_only_its_own_steps", a_further_platform_costs_only_its_own_steps),
    test("copies_are_the_same_for_all_platforms", copies_are_the_same_for_all_platforms),
    test("a_step_that_fails_for_one_platform_fails_the_build", a_step_that_fails_for_one_platform_fails_the_build),
    test("warnings_are_told_once", warnings_are_told_once),
    test("the_id_of_several_images_is_that_of_their_index", the_id_of_several_images_is_that_of_their_index),
    test("a_base_in_the_store_may_be_for_several_platforms", a_base_in_the_store_may_be_for_several_platforms),
    test("an_index_is_pushed_after_what_it_names", an_index_is_pushed_after_what_it_names),
    test("an_index_is_pushed_by_its_digest", an_index_is_pushed_by_its_digest),
    test("a_folder_is_emptied_of_what_no_platform_has", a_folder_is_emptied_of_what_no_platform_has),
];

/// A static arm64 program that writes a line and ends, put together by hand: nothing of a foreign architecture has to
/// be installed.
pub(crate) fn arm64_program(line: &str) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let length = u32::try_from(line.len()).unwrap();
    let code: [u32; 8] = [
        0xd280_0020,               // mov x0, #1
        0x1000_00e1,               // adr x1, the line behind the code
        0xd280_0002 | length << 5, // mov x2, #length
        0xd280_0808,               // mov x8, #64 (write)
        0xd400_0001,               // svc #0
        0xd280_0000,               // mov x0, #0
        0xd280_0ba8,               // mov x8, #93 (exit)
        0xd400_0001,               // svc #0
    ];
    let size = HEADERS + 4 * code.len() as u64 + u64::from(length);
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0\x01\0\0\0".to_vec();
    for number in [BASE + HEADERS, 64, 0] {
        file.extend(number.to_le_bytes());
    }
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    // One segment: type PT_LOAD, readable and executable.
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for number in [0, BASE, BASE, size, size, 0x1000] {
        file.extend(number.to_le_bytes());
    }
    file.extend(code.iter().flat_map(|instruction| instruction.to_le_bytes()));
    file.extend(line.as_bytes());
    file
}

fn a_foreign_program_runs() {
    let site = Site::new(
        "FROM scratch AS first
         COPY --chmod=755 hello /hello
         RUN [\"/hello\"]
         FROM --platform=$BUILDPLATFORM busybox AS native
         COPY --from=first /hello /
         RUN ! /hello 2>/dev/null && touch /done
         FROM first
         COPY --from=native /done /
        ",
    );
    fs::write(site.path("ctx/hello"), arm64_program("hello from afar\n")).unwrap();
    let built = site.build(&["--platform=linux/arm64"]).success();
    assert_eq!(built.stderr.matches("hello from afar").count(), 1, "{}", built.stderr);
    let summary = site.summary(&["--platform=linux/arm64"]);
    assert!(summary.contains("arm64"), "{summary}");
    // The history names what the Dockerfile says, not the emulator.
    assert!(summary.contains("RUN /hello # buildkit") && !summary.contains("qemu"), "{summary}");
    site.assert_tidy();
}

fn without_an_emulator_people_are_told() {
    let site = Site::new("FROM scratch\nCOPY --chmod=755 hello /hello\nRUN [\"/hello\"]\n");
    // No machine runs these by itself, and hardly one has them registered.
    fs::write(site.path("ctx/hello"), b"\x7fELF\x02\x02\x01").unwrap();
    let mut command = site.build_command(&["--platform=linux/s390x", "."]);
    let refused = run(command.env("PATH", "/nonexistent")).failure();
    assert!(refused.contains("hint: programs for linux/s390x need an emulator here"), "{refused}");
    assert!(refused.contains("install the package `qemu-user-static`"), "{refused}");
    assert!(refused.contains("exec format error"), "{refused}");
}

fn a_cross_build_needs_no_emulator() {
    let site = Site::new(
        "FROM --platform=$BUILDPLATFORM busybox AS build
         ARG TARGETPLATFORM TARGETARCH TARGETVARIANT BUILDARCH
         RUN echo $TARGETPLATFORM $TARGETARCH $TARGETVARIANT > /out && [ $BUILDARCH != arm ]
         FROM scratch
         COPY --from=build /out /out
        ",
    );
    let output = format!("--output={}", site.name("out"));
    let mut command = site.slipway();
    command.args(["build", "--platform=linux/arm/v6", &busybox_flag(), &output, "."]);
    run(command.env("PATH", "/nonexistent")).success();
    assert_eq!(fs::read_to_string(site.path("out/out")).unwrap(), "linux/arm/v6 arm v6\n");
    assert!(site.summary(&["--platform=linux/arm/v6"]).contains("v6"));
}

/// `--platform` for two platforms that hardly anybody's machine has.
const TWO: &str = "--platform=linux/s390x,linux/riscv64";

/// A stage that is the same for all platforms, and one step for each.
const CROSS: &str = "FROM --platform=$BUILDPLATFORM busybox AS build
    RUN echo one line >> /log
    RUN echo another line >> /log
    ARG TARGETARCH
    RUN echo $TARGETARCH > /arch
    FROM scratch
    COPY --from=build /log /arch /
";

/// How many steps of `build` were carried out whose name holds `text`.
fn n_run(build: &Outcome, text: &str) -> usize {
    let named = build.stderr.lines().filter(|line| line.starts_with('#') && line.contains(text));
    let numbers: BTreeSet<&str> = named.filter_map(|line| line.split(' ').next()).collect();
    let is_done = |number: &&str| build.stderr.lines().any(|line| line.starts_with(&format!("{number} DONE")));
    numbers.into_iter().filter(is_done).count()
}

fn a_shared_step_runs_once_for_all_platforms() {
    let site = Site::new(CROSS);
    let built = site.build(&[TWO, "--output=../out"]).success();
    assert_eq!([n_run(&built, "one line"), n_run(&built, "another line")], [1, 1], "{}", built.stderr);
    assert_eq!([n_run(&built, "RUN echo s390x"), n_run(&built, "RUN echo riscv64")], [1, 1], "{}", built.stderr);
    for arch in ["s390x", "riscv64"] {
        let file = |name: &str| fs::read_to_string(site.path(&format!("out/linux_{arch}/{name}"))).unwrap();
        assert_eq!((file("log"), file("arch")), ("one line\nanother line\n".to_owned(), format!("{arch}\n")));
    }
    site.assert_tidy();
}

fn a_further_platform_costs_only_its_own_steps() {
    let site = Site::new(CROSS);
    site.build(&["--platform=linux/s390x"]).success();
    let built = site.build(&["--platform=linux/s390x,linux/riscv64,linux/arm64"]).success();
    assert_eq!([n_run(&built, "line"), n_run(&built, "RUN echo s390x")], [0, 0], "{}", built.stderr);
    assert_eq!([n_run(&built, "RUN echo riscv64"), n_run(&built, "RUN echo arm64")], [1, 1], "{}", built.stderr);
    let steps = site.build(&["--platform=linux/arm64,linux/riscv64,linux/s390x"]).success().steps();
    assert_eq!(steps.ran, Vec::<String>::new());
}

fn copies_are_the_same_for_all_platforms() {
    let site = Site::new("FROM scratch\nWORKDIR /w\nCOPY a b .\nADD c .\nCOPY --link d .\n");
    for name in ["a", "b", "c", "d"] {
        site.write(name, name);
    }
    let built = site.build(&[TWO]).success();
    for text in ["WORKDIR", "COPY a", "ADD c", "] COPY --link d"] {
        assert_eq!(n_run(&built, text), 1, "{text}: {}", built.stderr);
    }
}

fn a_step_that_fails_for_one_platform_fails_the_build() {
    let site = Site::new(
        "FROM --platform=$BUILDPLATFORM busybox
         ARG TARGETARCH
         RUN test $TARGETARCH = s390x
        ",
    );
    let refused = site.build(&[TWO, "--tag=app", "--output=../out"]).failure();
    assert!(refused.contains("->riscv64 1/2] RUN test riscv64 = s390x:\n"), "{refused}");
    assert!(!site.path("out").exists());
    site.assert_tidy();
}

fn warnings_are_told_once() {
    let site = Site::new("FROM scratch\nARG A\nCOPY f /$UNSET\nWORKDIR relative\n");
    site.write("f", "");
    let built = site.build(&[TWO]).success();
    assert_eq!(built.stderr.matches(" - UndefinedVar").count(), 1, "{}", built.stderr);
    assert_eq!(built.stderr.matches(" - WorkdirRelativePath").count(), 1, "{}", built.stderr);
}

fn the_id_of_several_images_is_that_of_their_index() {
    let site = Site::new("FROM scratch\nARG TARGETARCH\nENV A=$TARGETARCH\n");
    site.build(&[TWO, "--iidfile=../iid", "--output=type=oci,dest=../layout,tar=false"]).success();
    let id = fs::read_to_string(site.path("iid")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&fs::read(site.path("layout/index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"][0]["digest"], id);
    let mut quiet = site.slipway();
    let shown = run(quiet.args(["build", "--quiet", TWO, "."])).success().stdout;
    assert_eq!(String::from_utf8(shown).unwrap(), id + "\n");
}

fn a_base_in_the_store_may_be_for_several_platforms() {
    let site =
        Site::new("FROM scratch\nARG TARGETARCH TARGETVARIANT\nENV BASE=$TARGETARCH$TARGETVARIANT\nCOPY $BASE /\n");
    for name in ["s390x", "armv6"] {
        site.write(name, name);
    }
    site.build(&["--platform=linux/s390x,linux/arm/v6", "--tag=base:1"]).success();
    site.write("Dockerfile", "FROM base:1\nARG TARGETARCH\nCOPY Dockerfile /of-$TARGETARCH-on-$BASE\n");
    // What runs programs for v7 runs those for v6.
    site.build(&["--platform=linux/s390x,linux/arm/v7", "--output=../out"]).success();
    assert_eq!(fs::read_to_string(site.path("out/linux_s390x/s390x")).unwrap(), "s390x");
    assert!(site.path("out/linux_s390x/of-s390x-on-s390x").exists());
    assert_eq!(fs::read_to_string(site.path("out/linux_arm_v7/armv6")).unwrap(), "armv6");
    assert!(site.path("out/linux_arm_v7/of-arm-on-armv6").exists());
    // Nothing in the store: a registry would be asked.
    site.build(&["--platform=linux/ppc64le", "--network=none"]).failure();
    site.assert_tidy();
}

fn an_index_is_pushed_after_what_it_names() {
    let registry = TestRegistry::start().unwrap();
    let site = Site::new(CROSS);
    let name = format!("{}/app:1", registry.host());
    site.build(&[TWO, "--push", "--tag", &name, "--iidfile=../iid"]).success();
    let put = registry.requests().into_iter().filter(|request| request.method == "PUT");
    let manifests: Vec<String> = put.map(|r| r.target).filter(|target| target.contains("/manifests/")).collect();
    assert_eq!(manifests.len(), 3);
    assert!(manifests[..2].iter().all(|target| target.contains("/manifests/sha256:")), "{manifests:?}");
    assert!(manifests[2].ends_with("/manifests/1"), "{manifests:?}");
    let index: Digest = fs::read_to_string(site.path("iid")).unwrap().parse().unwrap();
    registry.blob(&index).unwrap();

    // Another place pulls the image of its platform.
    let other = Site::new(&format!("FROM {name}\n"));
    other.build(&["--platform=linux/riscv64", "--output=../out"]).success();
    assert_eq!(fs::read_to_string(other.path("out/arch")).unwrap(), "riscv64\n");
    let refused = other.build(&["--platform=linux/ppc64le"]).failure();
    assert!(refused.contains("linux/s390x") && refused.contains("linux/riscv64"), "{refused}");
}

fn an_index_is_pushed_by_its_digest() {
    let registry = TestRegistry::start().unwrap();
    let site = Site::new("FROM scratch\nCOPY Dockerfile /\n");
    let output = format!("--output=type=image,name={}/app,push=true,push-by-digest=true", registry.host());
    site.build(&[TWO, &output, "--iidfile=../iid"]).success();
    let id = fs::read_to_string(site.path("iid")).unwrap();
    let put = registry.requests().into_iter().filter(|request| request.method == "PUT");
    let manifests: Vec<String> = put.map(|r| r.target).filter(|target| target.contains("/manifests/")).collect();
    assert!(manifests.iter().all(|target| target.contains("/manifests/sha256:")), "{manifests:?}");
    assert!(manifests[2].ends_with(&id), "{manifests:?}");
}

fn a_folder_is_emptied_of_what_no_platform_has() {
    let site = Site::new("FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /$TARGETARCH\n");
    let fill = || {
        for folder in ["old", "linux_s390x/old"] {
            fs::create_dir_all(site.path("ctx/out").join(folder)).unwrap();
        }
    };
    fill();
    site.build(&[TWO, "--output=type=local,dest=out"]).success();
    assert!(site.path("ctx/out/old").exists() && site.path("ctx/out/linux_s390x/old").exists());
    site.build(&[TWO, "--output=type=local,dest=out,mode=delete"]).success();
    assert!(!site.path("ctx/out/old").exists() && !site.path("ctx/out/linux_s390x/old").exists());
    assert!(site.path("ctx/out/linux_s390x/s390x").exists() && site.path("ctx/out/linux_riscv64/riscv64").exists());
    fill();
    site.build(&[TWO, "--output=type=local,dest=out,mode=delete,platform-split=false"]).success();
    let mut left: Vec<_> =
        fs::read_dir(site.path("ctx/out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["riscv64", "s390x"]);
}
