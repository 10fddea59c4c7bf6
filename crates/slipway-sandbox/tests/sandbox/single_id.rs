//! A user without subordinate ids has one id, and steps that see many.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use slipway_sandbox::owners;

use crate::cases::public_copy_of_this_program;
use crate::fixture::{Root, run_step_command};
use crate::{Case, Need};

/// No user of any distribution has this number, so there is no line for it in `/etc/subuid`.
const USER: u32 = 64999;

const NEEDS: &[Need] = &[Need::Sandbox, Need::Busybox, Need::NewUser];

pub(crate) const CASES: &[Case] = &[
    Case { name: "owners_are_recorded_and_shown", needs: NEEDS, run: owners_are_recorded_and_shown },
    Case { name: "marks_go_where_files_go", needs: NEEDS, run: marks_go_where_files_go },
    Case { name: "another_user_makes_files_of_its_own", needs: NEEDS, run: another_user_makes_files_of_its_own },
    Case { name: "another_user_has_no_rights_of_root", needs: NEEDS, run: another_user_has_no_rights_of_root },
    Case { name: "folders_hand_their_group_down", needs: NEEDS, run: folders_hand_their_group_down },
    Case { name: "limits_do_not_change_who_one_is", needs: NEEDS, run: limits_do_not_change_who_one_is },
    Case { name: "nothing_outside_gets_a_mark", needs: NEEDS, run: nothing_outside_gets_a_mark },
    Case { name: "many_processes_are_answered_at_once", needs: NEEDS, run: many_processes_are_answered_at_once },
];

/// A root that belongs to the user.
struct OwnRoot {
    root: Root,
    program: PathBuf,
}

impl OwnRoot {
    fn new() -> Self {
        let root = Root::new();
        fs::write(root.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\nweb:x:1000:1001::/:/bin/sh\n").unwrap();
        fs::write(root.path().join("etc/group"), "root:x:0:\nweb:x:1001:\nextra:x:50:web\n").unwrap();
        for applet in ["su", "chown", "chgrp", "mkfifo", "seq", "wc", "sort", "find", "tar"] {
            symlink("busybox", root.path().join("bin").join(applet)).unwrap();
        }
        give_all(&root.path());
        let program = public_copy_of_this_program(&root);
        Self { root, program }
    }

    /// The output of a script that succeeds.
    #[track_caller]
    fn output(&self, script: &str) -> String {
        let step = run_step_command(&self.program, &self.root, script);
        let mut command = Command::new("/usr/bin/setpriv");
        let id = USER.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"]).arg(step.get_program());
        let output = command.args(step.get_args()).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}\n{out}{err}");
        out.trim_end().to_owned()
    }
}

fn give_all(path: &Path) {
    std::os::unix::fs::lchown(path, Some(USER), Some(USER)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give_all(&entry.unwrap().path()));
    }
}

fn owners_are_recorded_and_shown() {
    let root = OwnRoot::new();
    let script = "cd /tmp; touch f; mkdir d; ln -s f l; mkfifo p
        for x in f d l p; do chown -h 33:44 $x; stat -c '%n %u:%g' $x; done
        stat -L -c '%u:%g' l; chgrp 7 f; stat -c %u:%g f; chown 0:0 d; stat -c %u:%g d
        cp /bin/busybox s; chmod 6755 s; chown 5 s; stat -c '%u:%g %a' s";
    let expected = "f 33:44\nd 33:44\nl 33:44\np 33:44\n33:44\n33:7\n0:0\n5:0 755";
    assert_eq!(root.output(script), expected);
    let on_disk = root.root.path().join("tmp");
    assert_eq!(fs::metadata(on_disk.join("f")).unwrap().uid(), USER, "on disk everything is the user's");
    let mark = |name: &str| {
        let mut value = [0; 32];
        let length = rustix::fs::getxattr(on_disk.join(name), owners::MARK, &mut value).ok()?;
        Some(String::from_utf8_lossy(&value[..length]).into_owned())
    };
    assert_eq!((mark("f").as_deref(), mark("d")), (Some("33:7"), None));
}

fn marks_go_where_files_go() {
    let root = OwnRoot::new();
    let script = "cd /tmp; touch f; ln -s f l; chown -h 33:44 f l; ln f hard; mv l moved; mv f away
        stat -c %u:%g hard away moved; tar c away | tar xC /etc; stat -c %u:%g /etc/away";
    assert_eq!(root.output(script), "33:44\n33:44\n33:44\n33:44");
}

fn another_user_makes_files_of_its_own() {
    let root = OwnRoot::new();
    let script = "su web -c 'id; cd /tmp; umask 027; touch f; mkdir d; ln -s f l; mkfifo p; echo x > d/in; mkdir d/deep
        (touch child &) ; sh -c \"touch grandchild\"'; cd /tmp; until stat -c %u child 2>/dev/null | grep -q 1000; do sleep 0.01; done
        stat -c '%n %u:%g %a' f d p d/in d/deep child grandchild; stat -c %u:%g l; touch r; stat -c %u:%g r";
    let expected = "uid=1000(web) gid=1001(web) groups=1001(web),50(extra)
f 1000:1001 640
d 1000:1001 750
p 1000:1001 640
d/in 1000:1001 640
d/deep 1000:1001 750
child 1000:1001 640
grandchild 1000:1001 640
1000:1001
0:0";
    assert_eq!(root.output(script), expected);
}

fn another_user_has_no_rights_of_root() {
    let root = OwnRoot::new();
    let script = "echo s > /etc/secret; chmod 600 /etc/secret; mkdir /etc/d; exec 2>/dev/null
        su web -c '[ -r /etc/secret ] || echo unreadable; [ -r /etc/passwd ] && echo readable
        touch /etc/new || echo no new; echo x > /etc/secret || echo no write; mkdir /etc/d/d || echo no folder
        chown 0 /tmp || echo no chown; su root -c true </dev/null || echo no way back'";
    let expected = "unreadable\nreadable\nno new\nno write\nno folder\nno chown\nno way back";
    assert_eq!(root.output(script), expected);
}

fn folders_hand_their_group_down() {
    let root = OwnRoot::new();
    let script = "mkdir /tmp/mail; chgrp 8 /tmp/mail; chmod 2775 /tmp/mail; cd /tmp/mail; touch f; mkdir d; ln -s x l
        stat -c '%u:%g %a' f d; stat -c %u:%g l";
    assert_eq!(root.output(script), "0:8 644\n0:8 2755\n0:8");
}

/// Programs like `su` with PAM set all limits between the calls that change who they are.
fn limits_do_not_change_who_one_is() {
    let root = OwnRoot::new();
    assert_eq!(root.output("su web -c 'ulimit -x 5; ulimit -x 0; id -u'; ulimit -x 1; id -u"), "1000\n0");
}

fn nothing_outside_gets_a_mark() {
    let root = OwnRoot::new();
    let canary = root.root.canary();
    chown(&canary, Some(USER), Some(USER)).unwrap();
    fs::set_permissions(&canary, fs::Permissions::from_mode(0o777)).unwrap();
    symlink(&canary, root.root.path().join("tmp/link")).unwrap();
    let script = format!(
        "exec 2>/dev/null; cd /tmp; for x in link ../../../..{0} /../..{0} /proc/1/root/..{0} /proc/self/cwd/../../..{0}
        do chown 5:6 $x; done; su web -c 'for x in {0} /proc/1/cwd/..{0}; do mkdir $x/made; echo > $x/made2; done'; true",
        canary.display()
    );
    root.output(&script);
    let mut value = [0; 32];
    assert!(rustix::fs::getxattr(&canary, owners::MARK, &mut value).is_err(), "{value:?}");
    root.root.assert_canary_is_alive();
}

fn many_processes_are_answered_at_once() {
    let root = OwnRoot::new();
    let script = "cd /tmp; for i in $(seq 8); do (for j in $(seq 25); do touch $i.$j; chown $i:$j $i.$j; done) & done; wait
        for i in $(seq 8); do for j in $(seq 25); do stat -c '%n %u.%g' $i.$j; done; done | grep -vc '^\\(.*\\) \\1$'; true";
    assert_eq!(root.output(script), "0");
}
