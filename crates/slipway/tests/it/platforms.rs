//! Images for other architectures than the machine's.

use std::fs;

use slipway_test::capability::Capability;

use crate::site::{Site, busybox_flag, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    Test { name: "a_foreign_program_runs", needs: &[Capability::Emulator], run: a_foreign_program_runs },
    test("without_an_emulator_people_are_told", without_an_emulator_people_are_told),
    test("a_cross_build_needs_no_emulator", a_cross_build_needs_no_emulator),
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
