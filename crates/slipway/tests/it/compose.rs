//! `slipway compose`: `config` and `build --print` give what the reference gives, byte for byte; `build` builds.

use crate::bake::assert_agreement;
use crate::site::{Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("agrees_with_the_reference", agrees_with_the_reference),
    test("builds_a_service_from_another_one", builds_a_service_from_another_one),
    test("a_mistake_is_shown_in_its_file", a_mistake_is_shown_in_its_file),
];

fn agrees_with_the_reference() {
    assert_agreement("compose");
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
