//! `slipway compose`: `config` and `build --print` give what the reference gives, byte for byte; `build` makes its images.

use std::fs;
use std::path::Path;

use slipway_test::registry::TestRegistry;
use slipway_test::{recorded_images, recorded_table};

use crate::bake::assert_agreement;
use crate::site::{Site, busybox_base, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("agrees_with_the_reference", agrees_with_the_reference),
    test("builds_the_images_of_the_reference", builds_the_images_of_the_reference),
    test("builds_a_service_from_another_one", builds_a_service_from_another_one),
    test("images_are_pinned_to_their_digests", images_are_pinned_to_their_digests),
    test("global_flags_are_followed_or_refused", global_flags_are_followed_or_refused),
    test("a_mistake_is_shown_in_its_file", a_mistake_is_shown_in_its_file),
];

fn agrees_with_the_reference() {
    assert_agreement("compose");
}

/// Config, history, and layers with all their files. Only the version of Compose is another one.
fn builds_the_images_of_the_reference() {
    let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose_images");
    let mut n_cases = 0;
    for entry in fs::read_dir(tables).unwrap() {
        for case in recorded_table::parse(&fs::read_to_string(entry.unwrap().path()).unwrap()) {
            let site = Site::new("FROM busybox\n");
            site.build(&["-t", "busybox"]).success();
            let folder = site.path("demo");
            fs::create_dir(&folder).unwrap();
            let store = site.path("store");
            let binary = env!("CARGO_BIN_EXE_slipway");
            let root = format!("SLIPWAY_ROOT={}", store.display());
            let built = case.run(&["env", &root], &[binary], &folder).unwrap();
            assert_eq!(built.error, "", "{}", case.title);
            let contents =
                recorded_images::contents(&case, &[binary], &[("SLIPWAY_ROOT", store.as_path())], busybox_base())
                    .unwrap();
            let difference = slipway_test::expectation::difference(&case.answer.stdout, &contents);
            assert_eq!(difference, None, "{}", case.title);
            n_cases += 1;
        }
    }
    assert!(n_cases >= 6, "{n_cases} cases");
}

fn images_are_pinned_to_their_digests() {
    let registry = TestRegistry::start().unwrap();
    let site = Site::new("FROM busybox\n");
    let name = format!("{}/app", registry.host());
    site.build(&["-t", &name, "--push", "--metadata-file", "metadata.json"]).success();
    let metadata = fs::read_to_string(site.path("ctx/metadata.json")).unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let digest = metadata["containerimage.digest"].as_str().unwrap().to_owned();
    site.write("compose.yaml", &format!("name: demo\nservices: {{a: {{image: {name}}}, b: {{build: .}}}}\n"));
    let config = |flag: &str| {
        let outcome = run(site.slipway().args(["compose", "config", flag])).success();
        String::from_utf8(outcome.stdout).unwrap()
    };
    assert!(config("--resolve-image-digests").contains(&format!("image: {name}:latest@{digest}\n")));
    assert_eq!(
        config("--lock-image-digests"),
        format!("services:\n  a:\n    image: {name}:latest@{digest}\n  b: {{}}\n")
    );
}

fn global_flags_are_followed_or_refused() {
    let site = Site::new("FROM scratch\n");
    site.write("compose.yaml", "name: demo\nservices: {a: {image: x}}\n");
    let compose = |words: &[&str]| run(site.slipway().arg("compose").args(words).env("COMPOSE_PARALLEL_LIMIT", "3"));
    for words in [&["--parallel", "-1"][..], &["--ansi", "never"], &["--no-ansi"], &["--all-resources"]] {
        compose(&[words, &["config", "-q"]].concat()).success();
    }
    for (words, expected) in [
        (&["--dry-run", "up"][..], "--dry-run is not known here"),
        (&["up", "--dry-run"], "--dry-run is not known here"),
        (&["--parallel", "x", "config"], "strconv.ParseInt: parsing \"x\": invalid syntax\n"),
        (&["--ansi", "pink", "config"], "unsupported --ansi value \"pink\""),
        (&["-f", "https://example.com/a.git", "config"], "Compose files that are elsewhere are not known here"),
        (&["-f", "oci://example.com/a", "config"], "Compose files that are elsewhere are not known here"),
    ] {
        let refused = compose(words).failure();
        assert!(refused.contains(expected), "{words:?}: {refused}");
    }
    let limit = run(site.slipway().args(["compose", "config"]).env("COMPOSE_PARALLEL_LIMIT", "x")).failure();
    assert_eq!(limit, "COMPOSE_PARALLEL_LIMIT must be an integer (found: \"x\")\n");
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
