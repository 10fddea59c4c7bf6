//! `slipway compose`: `config` and `build --print` give what the reference gives, byte for byte; `build` builds.

use std::fs;
use std::path::Path;

use slipway_test::bake_table;

use crate::site::{Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("agrees_with_the_reference", agrees_with_the_reference),
    test("builds_a_service_from_another_one", builds_a_service_from_another_one),
    test("a_mistake_is_shown_in_its_file", a_mistake_is_shown_in_its_file),
];

fn agrees_with_the_reference() {
    let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose");
    let mut differences = Vec::new();
    let mut n_cases = 0;
    for entry in fs::read_dir(tables).unwrap() {
        let path = entry.unwrap().path();
        for case in bake_table::parse(&fs::read_to_string(&path).unwrap()) {
            let temporary = tempfile::tempdir().unwrap();
            let folder = temporary.path().join("demo");
            fs::create_dir(&folder).unwrap();
            let answer = case.run(&[], &[env!("CARGO_BIN_EXE_slipway")], &folder).unwrap();
            n_cases += 1;
            if answer != case.answer {
                let table = path.file_name().unwrap_or_default().display();
                differences.push(format!(
                    "{table}: {}\n  wanted: {}\n{}\n  got: {}\n{}",
                    case.title, case.answer.error, case.answer.stdout, answer.error, answer.stdout
                ));
            }
        }
    }
    assert!(n_cases > 0, "no cases were found");
    assert!(differences.is_empty(), "{} of {n_cases} differ:\n{}", differences.len(), differences.join("\n"));
}

fn builds_a_service_from_another_one() {
    let site = Site::new("FROM scratch\nCOPY Dockerfile /from-base\n");
    site.write("app/Dockerfile", "FROM base\nCOPY Dockerfile /from-app\n");
    site.write(
        "compose.yaml",
        "name: demo\nservices:\n  base: {build: .}\n  app: {build: {context: app, additional_contexts: {base: 'service:base'}}}\n",
    );
    run(site.slipway().args(["compose", "build", "--progress=plain", "app"])).success();
    let images = run(site.slipway().arg("images")).success();
    let images = String::from_utf8(images.stdout).unwrap();
    assert!(images.contains("demo-base") && images.contains("demo-app"), "{images}");
}

fn a_mistake_is_shown_in_its_file() {
    let site = Site::new("FROM scratch\n");
    site.write("compose.yaml", "services:\n  web:\n    image: x\n    imagee: y\n");
    let stderr = run(site.slipway().args(["compose", "config"])).failure();
    assert!(stderr.contains(" 4 | >>>     imagee: y\n"), "{stderr}");
    assert!(stderr.contains("hint: did you mean `image`?\n"), "{stderr}");
    assert!(stderr.ends_with("services.web additional properties 'imagee' not allowed\n"), "{stderr}");
}
