//! `--context-mode=git`: clones that were made with another umask are the same context.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::site::{Outcome, Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("clones_with_any_umask_are_one_context", clones_with_any_umask_are_one_context),
    test("images_of_all_clones_are_equal", images_of_all_clones_are_equal),
    test("an_unknown_mode_is_refused", an_unknown_mode_is_refused),
];

const UMASKS: [&str; 3] = ["0002", "0022", "0077"];
const GIT: &str = "--context-mode=git";

/// A place with one clone of the same repository for each umask.
fn site() -> Site {
    let site = Site::new(
        "FROM busybox\nCOPY src /app\nRUN --mount=target=/c cd /c/src && stat -c '%a %n' . f run sub sub/g > /modes\n",
    );
    site.write(".dockerignore", ".git\n");
    for file in ["f", "run", "sub/g"] {
        site.write(&format!("src/{file}"), file);
    }
    fs::set_permissions(site.path("ctx/src/run"), PermissionsExt::from_mode(0o755)).unwrap();
    let commit = "git init -q . && git add -A && git -c user.name=n -c user.email=n@localhost commit -qm files";
    let clones = UMASKS.map(|umask| format!("(umask {umask}; git clone -q . ../{umask})"));
    let script = format!("{commit} && {}", clones.join(" && "));
    run(site.with_own_environment(Command::new("sh")).args(["-c", &script])).success();
    site
}

fn build(site: &Site, clone: &str, arguments: &[&str]) -> Outcome {
    run(site.build_command(arguments).arg(format!("../{clone}"))).success()
}

fn clones_with_any_umask_are_one_context() {
    let site = site();
    let n_run = |clone, flags: &[&str]| build(&site, clone, flags).steps().ran.len();
    assert_eq!(UMASKS.map(|clone| n_run(clone, &[GIT])), [2, 0, 0]);
    // Without the flag they are not, or the test would show nothing.
    assert_eq!((n_run("0002", &[]), n_run("0077", &[])), (2, 2));
    build(&site, "0077", &[GIT, "--output=../out"]);
    let expected = "755 .\n644 f\n755 run\n755 sub\n644 sub/g\n";
    assert_eq!(fs::read_to_string(site.path("out/modes")).unwrap(), expected);
    let mode = |path: &str| fs::metadata(site.path("out/app").join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(["f", "run", "sub", "sub/g"].map(mode), [0o644, 0o755, 0o755, 0o644]);
}

/// Each built in a store of its own.
fn images_of_all_clones_are_equal() {
    let site = site();
    let ids = UMASKS.map(|clone| {
        let (store, id) = (site.path(&format!("store-{clone}")), site.name(&format!("{clone}.id")));
        let output = format!("--output=type=oci,dest={},rewrite-timestamp=true", site.name("image.tar"));
        let flags = [GIT, "--build-arg=SOURCE_DATE_EPOCH=1700000000", "--iidfile", &id, &output];
        run(site.build_command(&flags).env("SLIPWAY_ROOT", store).arg(format!("../{clone}"))).success();
        fs::read_to_string(&id).unwrap()
    });
    assert!(ids[0].starts_with("sha256:"), "{ids:?}");
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

fn an_unknown_mode_is_refused() {
    let told = Site::new("FROM busybox\n").build(&["--context-mode=hg"]).failure();
    assert!(told.contains("invalid value \"hg\" of --context-mode: there are `git` and `disk`"), "{told}");
}
