//! Wherever the store and the context lie, the image is the same, to the byte.
//!
//! File systems list folders in orders of their own (of names' hashes, of when files were made, or the opposite), give
//! folders and sparse files other sizes, and count links to folders differently, or not at all.

use std::fs;
use std::process::Command;

use slipway_test::capability::Capability;

use crate::Test;
use crate::site::{SLIPWAY, Site, busybox_flag, run};

pub(crate) const TESTS: &[Test] = &[
    Test { name: "ext4", needs: &[Capability::Ext4], run: || on_disk("mkfs.ext4 -q") },
    Test { name: "xfs", needs: &[Capability::Xfs], run: || on_disk("mkfs.xfs -q") },
    Test { name: "btrfs", needs: &[Capability::Btrfs], run: || on_disk("mkfs.btrfs -q") },
    Test { name: "tmpfs", needs: &[Capability::Root], run: in_memory },
    Test { name: "overlay", needs: &[Capability::Root], run: context_on_overlay },
];

const DOCKERFILE: &str = "FROM busybox
COPY . /context/
RUN mkdir /many && cd /many && for n in $(seq 300); do echo $n > f$n; done && mkdir -p deep/er/and/deeper
RUN cp -r /context /copied && ln /many/f1 /many/hard && ln -s f2 /many/soft && mkfifo /many/fifo
RUN dd if=/dev/zero of=/sparse bs=1 count=1 seek=3000000 2>/dev/null && rm -r /context/b
RUN cp /bin/busybox /setuid && chmod 4755 /setuid && chown -R 7:8 /copied
FROM scratch
COPY --from=0 /many /copied /m/
COPY --from=0 / /all/
";

/// Builds on what `mount` mounts at `$D`, where the files of the context are put in the order in which `order` lists them;
/// gives the image as an archive. The mount is seen by this build only, and goes with it.
fn built(mount: &str, order: &str) -> Vec<u8> {
    let site = Site::new(DOCKERFILE);
    for name in ["a", "b/1", "b/2", "c with a blank", "z/y/x", ".hidden"] {
        site.write(name, name);
    }
    fs::create_dir(site.path("ctx/empty")).unwrap();
    fs::create_dir(site.path("disk")).unwrap();
    let script = format!(
        "set -e; {mount}; mkdir -p $D/ctx; {order} | while read -r name; do cp -a \"$name\" $D/ctx/; done; \
         cd $D/ctx; exec \"$@\""
    );
    let mut command = site.with_own_environment(Command::new("unshare"));
    command.env("D", site.path("disk")).env("SLIPWAY_ROOT", site.path("disk/store"));
    command.args(["--mount", "sh", "-c", &script, "sh", SLIPWAY, "build", "--progress=plain", &busybox_flag()]);
    command.arg("--build-arg=SOURCE_DATE_EPOCH=1000000000");
    let output = format!("--output=type=oci,rewrite-timestamp=true,dest={}", site.path("image.tar").display());
    run(command.arg(output).arg(".")).success();
    fs::read(site.path("image.tar")).unwrap()
}

const FORWARDS: &str = "ls -A";
const BACKWARDS: &str = "ls -Ar";

fn assert_same(mount: &str) {
    // Where the tests lie.
    let expected = built(":", FORWARDS);
    for order in [FORWARDS, BACKWARDS] {
        assert!(built(mount, order) == expected, "another image with `{mount}` and `{order}`");
    }
}

/// `mkfs` makes a file system in a file, which takes no room where nothing is written.
fn on_disk(mkfs: &str) {
    assert_same(&format!("truncate -s 400m $D.img; {mkfs} $D.img >/dev/null; mount -o loop $D.img $D; rm $D.img"));
}

fn in_memory() {
    assert_same("mount -t tmpfs -o size=100m none $D");
}

/// The store cannot be there: the kernel stacks no overlay on one.
fn context_on_overlay() {
    let mount = "mount -t tmpfs none $D; mkdir $D/l $D/u $D/w $D/ctx $D/l/empty; \
                 mount -t overlay none -o lowerdir=$D/l,upperdir=$D/u,workdir=$D/w $D/ctx";
    assert_same(mount);
}
