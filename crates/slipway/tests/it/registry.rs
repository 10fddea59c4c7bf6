//! Images that come from registries and go there.

use std::fs;

use slipway_oci::Digest;
use slipway_test::registry::{Access, TestRegistry};

use crate::site::{Outcome, Site, busybox_layout, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_base_is_pulled_over_plain_http_from_loopback", a_base_is_pulled_over_plain_http_from_loopback),
    test("a_mirror_stands_in_for_docker_hub", a_mirror_stands_in_for_docker_hub),
    test("the_store_answers_when_the_registry_is_gone", the_store_answers_when_the_registry_is_gone),
    test("pull_asks_again", pull_asks_again),
    test("passwords_of_config_json_are_used", passwords_of_config_json_are_used),
    test("tokens_are_fetched_with_the_password", tokens_are_fetched_with_the_password),
    test("a_mirror_never_sees_the_password", a_mirror_never_sees_the_password),
    test("a_missing_image_is_named_with_host_and_reason", a_missing_image_is_named_with_host_and_reason),
    test("an_unreachable_registry_is_named", an_unreachable_registry_is_named),
    test("push_sends_the_image_under_its_tags", push_sends_the_image_under_its_tags),
    test("the_registry_output_names_the_image_itself", the_registry_output_names_the_image_itself),
    test("a_push_that_is_refused_fails_the_build", a_push_that_is_refused_fails_the_build),
    test("a_blob_that_breaks_off_is_taken_up_again", a_blob_that_breaks_off_is_taken_up_again),
];

/// `user:password`, as `config.json` and the Authorization header have it.
const LOGIN: &str = "dXNlcjpwYXNzd29yZA==";

fn registry_with_busybox() -> TestRegistry {
    let registry = TestRegistry::start().unwrap();
    registry.put_layout(busybox_layout(), "library/busybox", "latest").unwrap();
    registry
}

/// A place whose Dockerfile starts from the registry's busybox by its full name.
fn site_of(registry: &TestRegistry) -> Site {
    Site::new(&format!("FROM {}/library/busybox\nRUN echo built > /file\n", registry.host()))
}

/// Builds without the name `busybox` that other tests use.
fn build(site: &Site, arguments: &[&str], mirror: &str) -> Outcome {
    let mut command = site.slipway();
    command.env("SLIPWAY_MIRROR", mirror).args(["build", "--progress=plain"]).args(arguments).arg(".");
    run(&mut command)
}

fn log_in(site: &Site, host: &str) {
    let folder = site.path("home/.docker");
    fs::create_dir_all(&folder).unwrap();
    let config = format!(r#"{{"auths": {{"{host}": {{"auth": "{LOGIN}"}}}}}}"#);
    fs::write(folder.join("config.json"), config).unwrap();
}

fn basic() -> Access {
    Access::Basic { username: "user".to_owned(), password: "password".to_owned() }
}

fn a_base_is_pulled_over_plain_http_from_loopback() {
    let registry = registry_with_busybox();
    let site = site_of(&registry);
    build(&site, &["--output=../out"], "").success();
    assert_eq!(fs::read_to_string(site.path("out/file")).unwrap(), "built\n");
    assert!(site.path("out/bin/busybox").exists());
    site.assert_tidy();
}

fn a_mirror_stands_in_for_docker_hub() {
    let registry = registry_with_busybox();
    let site = Site::new("FROM busybox\nRUN echo built > /file\n");
    build(&site, &[], registry.url()).success();
    let first = &registry.requests()[0];
    assert!(first.target.starts_with("/v2/library/busybox/manifests/latest"), "{first:?}");

    let named = Site::new("FROM images.example/library/busybox\nRUN echo built > /file\n");
    build(&named, &[], &format!("images.example={}", registry.url())).success();
}

fn the_store_answers_when_the_registry_is_gone() {
    let registry = registry_with_busybox();
    let site = site_of(&registry);
    build(&site, &[], "").success();
    registry.forget_requests();
    site.write("Dockerfile", &format!("FROM {}/library/busybox\nRUN echo changed > /file\n", registry.host()));
    build(&site, &[], "").success();
    assert_eq!(registry.requests(), [], "a known image needs no question");
    drop(registry);
    site.write("added", "");
    build(&site, &["--no-cache", "--output=../out"], "").success();
    assert_eq!(fs::read_to_string(site.path("out/file")).unwrap(), "changed\n");
}

fn pull_asks_again() {
    let registry = registry_with_busybox();
    let site = site_of(&registry);
    build(&site, &[], "").success();
    registry.forget_requests();
    let steps = build(&site, &["--pull"], "").success().steps();
    assert!(registry.requests().iter().any(|request| request.target.contains("/manifests/latest")));
    assert_eq!(steps.ran, Vec::<String>::new(), "the image is the same, so are the steps");
    drop(registry);
    build(&site, &["--pull"], "").failure();
}

fn passwords_of_config_json_are_used() {
    let registry = registry_with_busybox();
    registry.set_access(basic());
    let site = site_of(&registry);
    let stderr = build(&site, &[], "").failure();
    assert!(stderr.contains("may require authorization"), "{stderr}");
    log_in(&site, &registry.host());
    build(&site, &[], "").success();
}

fn tokens_are_fetched_with_the_password() {
    let registry = registry_with_busybox();
    registry.set_access(Access::bearer(false));
    let site = site_of(&registry);
    build(&site, &[], "").failure();
    log_in(&site, &registry.host());
    let tag = format!("{}/mine:1", registry.host());
    build(&site, &["--tag", &tag, "--push"], "").success();
    for request in registry.requests() {
        let has_password = request.authorization.is_some_and(|header| header.contains(LOGIN));
        assert!(!has_password || request.target.starts_with("/token"), "{} {}", request.method, request.target);
    }
}

fn a_mirror_never_sees_the_password() {
    let (registry, mirror) = (registry_with_busybox(), TestRegistry::start().unwrap());
    registry.set_access(basic());
    mirror.set_access(basic());
    let site = site_of(&registry);
    log_in(&site, &registry.host());
    build(&site, &[], &format!("{}={}", registry.host(), mirror.url())).success();
    let at_mirror = mirror.requests();
    assert!(!at_mirror.is_empty(), "the mirror is asked first");
    assert!(at_mirror.iter().all(|request| request.authorization.is_none()), "{at_mirror:?}");
}

fn a_missing_image_is_named_with_host_and_reason() {
    let (registry, mirror) = (registry_with_busybox(), TestRegistry::start().unwrap());
    let name = format!("{}/library/nothing:7", registry.host());
    let site = Site::new(&format!("FROM busybox\nFROM {name}\nRUN true\n"));
    let stderr = build(&site, &[], &format!("{}={}", registry.host(), mirror.url())).failure();
    let message = stderr.lines().last().unwrap();
    assert!(message.starts_with("ERROR: failed to build: failed to solve: "), "{stderr}");
    for part in [name.as_str(), &format!("{}: not found", mirror.host()), &format!("{}: not found", registry.host())] {
        assert!(message.contains(part), "`{part}` is not in: {stderr}");
    }
    assert!(stderr.contains(&format!("   2 | >>> FROM {name}\n")), "{stderr}");
}

fn an_unreachable_registry_is_named() {
    let registry = TestRegistry::start().unwrap();
    let host = registry.host();
    drop(registry);
    let site = Site::new(&format!("FROM {host}/library/busybox\nRUN true\n"));
    let stderr = build(&site, &[], "").failure();
    assert!(stderr.contains(&format!("{host}: cannot be reached: ")), "{stderr}");
}

fn push_sends_the_image_under_its_tags() {
    let registry = registry_with_busybox();
    let site = site_of(&registry);
    let names = [format!("{}/mine:1", registry.host()), format!("{}/mine:2", registry.host())];
    build(&site, &["--push", "--tag", &names[0], "--tag", &names[1], "--iidfile=../iid"], "").success();
    let image_id: Digest = fs::read_to_string(site.path("iid")).unwrap().parse().unwrap();
    registry.blob(&image_id).unwrap();
    let other =
        Site::new(&format!("FROM {} AS a\nFROM {}\nRUN cat /file\nCOPY --from=a /file /b\n", names[0], names[1]));
    build(&other, &["--output=../out"], "").success();
    assert_eq!(fs::read_to_string(other.path("out/b")).unwrap(), "built\n");

    registry.forget_requests();
    build(&site, &["--push", "--tag", &names[0]], "").success();
    assert!(!registry.requests().iter().any(|request| request.method == "PATCH"), "the blobs are there already");
}

fn the_registry_output_names_the_image_itself() {
    let registry = registry_with_busybox();
    let site = site_of(&registry);
    let name = format!("{}/deep/er/mine:x", registry.host());
    build(&site, &[&format!("--output=type=registry,name={name}")], "").success();
    let other = Site::new(&format!("FROM {name}\n"));
    build(&other, &["--output=../out"], "").success();
    assert_eq!(fs::read_to_string(other.path("out/file")).unwrap(), "built\n");
}

fn a_push_that_is_refused_fails_the_build() {
    let registry = registry_with_busybox();
    registry.set_access(Access::bearer(true));
    let site = site_of(&registry);
    let tag = format!("{}/mine:1", registry.host());
    let stderr = build(&site, &["--push", "--tag", &tag, "--iidfile=../iid"], "").failure();
    let message = stderr.lines().last().unwrap();
    assert!(message.contains(&registry.host()) && message.contains("push access denied"), "{stderr}");
    assert!(!site.path("iid").exists());
    let no_name = build(&site, &["--push"], "").failure();
    assert!(no_name.contains("tag is needed when pushing to registry"), "{no_name}");
}

fn a_blob_that_breaks_off_is_taken_up_again() {
    let registry = registry_with_busybox();
    registry.cut_next_blobs(2, 100_000);
    let site = site_of(&registry);
    build(&site, &["--output=../out"], "").success();
    assert_eq!(fs::read_to_string(site.path("out/file")).unwrap(), "built\n");
}
