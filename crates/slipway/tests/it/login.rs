//! `login` and `logout`: what is asked, what is kept where, and what is said.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use slipway_test::registry::{Access, TestRegistry};

use crate::shell::Typist;
use crate::site::{Outcome, Site, run};
use crate::{Test, test};

pub(crate) const TESTS: &[Test] = &[
    test("a_login_is_checked_and_kept", a_login_is_checked_and_kept),
    test("a_wrong_password_is_refused_and_not_kept", a_wrong_password_is_refused_and_not_kept),
    test("a_token_service_decides_too", a_token_service_decides_too),
    test("a_kept_login_is_used_again_or_named", a_kept_login_is_used_again_or_named),
    test("helpers_keep_and_forget", helpers_keep_and_forget),
    test("podmans_logins_are_used", podmans_logins_are_used),
    test("a_password_is_typed_unseen", a_password_is_typed_unseen),
    test("mistakes_have_dockers_words", mistakes_have_dockers_words),
];

fn basic() -> Access {
    Access::Basic { username: "user".to_owned(), password: "password".to_owned() }
}

fn slipway(site: &Site, arguments: &[&str], input: &str) -> Outcome {
    let mut command = site.slipway();
    let mut child =
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that reads nothing may be over by now.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    let output = child.wait_with_output().unwrap();
    Outcome {
        exit_code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn config(site: &Site) -> String {
    fs::read_to_string(site.path("home/.docker/config.json")).unwrap()
}

fn a_login_is_checked_and_kept() {
    let (site, registry) = (Site::new(""), TestRegistry::start().unwrap());
    registry.set_access(basic());
    let host = registry.host();
    fs::create_dir(site.path("home/.docker")).unwrap();
    let path = site.path("home/.docker/config.json");
    fs::write(&path, r#"{"detachKeys":"ctrl-x","own":{"b":1,"a":2}}"#).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();

    let login = slipway(&site, &["login", "-u", "user", "--password-stdin", &host], "password\n").success();
    assert_eq!(String::from_utf8_lossy(&login.stdout), "Login Succeeded\n");
    let warning = format!("WARNING! Your credentials are stored unencrypted in '{}'.", path.display());
    assert!(login.stderr.contains(&warning), "{}", login.stderr);
    let expected = format!(
        "{{\n\t\"detachKeys\": \"ctrl-x\",\n\t\"own\": {{\n\t\t\"b\": 1,\n\t\t\"a\": 2\n\t}},\n\t\"auths\": {{\n\t\t\"{host}\": \
         {{\n\t\t\t\"auth\": \"dXNlcjpwYXNzd29yZA==\"\n\t\t}}\n\t}}\n}}"
    );
    assert_eq!(config(&site), expected);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let again = slipway(&site, &["login", "-u", "user", "-p", "password", &format!("http://{host}/v2/")], "").success();
    assert_eq!(again.stderr, "WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n");

    let logout = slipway(&site, &["logout", &host], "").success();
    assert_eq!(String::from_utf8_lossy(&logout.stdout), format!("Removing login credentials for {host}\n"));
    assert!(!config(&site).contains(&host) && config(&site).contains("ctrl-x"));
    slipway(&site, &["logout", &host], "").success();
}

fn a_wrong_password_is_refused_and_not_kept() {
    let (site, registry) = (Site::new(""), TestRegistry::start().unwrap());
    registry.set_access(basic());
    let host = registry.host();
    let stderr = slipway(&site, &["login", "-u", "user", "--password-stdin", &host], "hidden").failure();
    let expected = format!("Error: login attempt to http://{host}/v2/ failed with status: 401 Unauthorized\n");
    assert_eq!(stderr, expected);
    assert!(!site.path("home/.docker/config.json").exists());
    drop(registry);
    let stderr = slipway(&site, &["login", "-u", "user", "--password-stdin", &host], "hidden").failure();
    assert!(stderr.starts_with(&format!("Error: Get \"http://{host}/v2/\": cannot be reached: ")), "{stderr}");
}

fn a_token_service_decides_too() {
    let (site, registry) = (Site::new(""), TestRegistry::start().unwrap());
    // It gives tokens to strangers; they must not make a wrong password look right.
    registry.set_access(Access::bearer(true));
    let host = registry.host();
    let login = |password: &str| slipway(&site, &["login", "-u", "user", "--password-stdin", &host], password);
    let stderr = login("hidden").failure();
    assert!(stderr.starts_with(&format!("Error: Get \"http://{host}/v2/\": unauthorized")), "{stderr}");
    assert!(!stderr.contains("hidden"));
    login("password").success();
    assert!(config(&site).contains(&host));
    for request in registry.requests() {
        let has_password = request.authorization.is_some_and(|header| header.starts_with("Basic"));
        assert!(!has_password || request.target.starts_with("/token"), "{}", request.target);
    }
}

fn a_kept_login_is_used_again_or_named() {
    let (site, registry) = (Site::new(""), TestRegistry::start().unwrap());
    registry.set_access(basic());
    let host = registry.host();
    slipway(&site, &["login", "-u", "user", "--password-stdin", &host], "password").success();
    let again = slipway(&site, &["login", &host], "").success();
    assert!(again.stderr.starts_with("Authenticating with existing credentials... [Username: user]\n"));
    registry.set_access(Access::Basic { username: "user".to_owned(), password: "another".to_owned() });
    let stderr = slipway(&site, &["login", &host], "").failure();
    let source = format!("come from `{}`\n", site.path("home/.docker/config.json").display());
    assert!(stderr.contains("Stored credentials invalid or expired") && stderr.contains(&source), "{stderr}");
    assert!(stderr.ends_with("Error: Cannot perform an interactive login from a non TTY device\n"), "{stderr}");
}

/// A helper that keeps one document a server below `kept`.
fn install_helper(site: &Site) -> String {
    let (folder, kept) = (site.path("helpers"), site.name("kept"));
    fs::create_dir(&folder).unwrap();
    fs::create_dir(&kept).unwrap();
    let script = format!(
        r#"#!/bin/sh
document=$(cat)
case $1 in
store) server=$(printf %s "$document" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/'); printf %s "$document" > "{kept}/$server" ;;
get) cat "{kept}/$document" 2>/dev/null || {{ echo "credentials not found in native keychain"; exit 1; }} ;;
erase) rm "{kept}/$document" 2>/dev/null || {{ echo "the keychain is locked"; exit 1; }} ;;
esac
"#
    );
    let program = folder.join("docker-credential-test");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

fn helpers_keep_and_forget() {
    for key in ["credsStore", "credHelpers"] {
        let (site, registry) = (Site::new(""), TestRegistry::start().unwrap());
        registry.set_access(basic());
        let host = registry.host();
        let path = install_helper(&site);
        let helper = if key == "credsStore" { "\"test\"".to_owned() } else { format!("{{\"{host}\":\"test\"}}") };
        fs::create_dir(site.path("docker")).unwrap();
        fs::write(site.path("docker/config.json"), format!("{{\"{key}\":{helper}}}")).unwrap();
        let with_helper = |arguments: &[&str]| {
            run(site.slipway().env("PATH", &path).env("DOCKER_CONFIG", site.path("docker")).args(arguments))
        };

        let login = with_helper(&["login", "-u", "user", "-p", "password", &host]).success();
        assert!(!login.stderr.contains("unencrypted"), "{}", login.stderr);
        assert!(fs::read_to_string(site.path("kept").join(&host)).unwrap().contains("password"));
        let config = fs::read_to_string(site.path("docker/config.json")).unwrap();
        assert!(config.contains(&format!("\"{host}\": {{}}")) && !config.contains("dXNlcjpw"), "{config}");

        registry.set_access(Access::Basic { username: "user".to_owned(), password: "another".to_owned() });
        let stderr = with_helper(&["login", &host]).failure();
        assert!(stderr.contains("come from `docker-credential-test`"), "{stderr}");

        with_helper(&["logout", &host]).success();
        assert!(!site.path("kept").join(&host).exists());
        let again = with_helper(&["logout", &host]).success();
        assert!(again.stderr.starts_with("WARNING: could not erase credentials:\n"), "{}", again.stderr);
        assert!(again.stderr.contains("`docker-credential-test`: the keychain is locked"), "{}", again.stderr);
    }
}

fn podmans_logins_are_used() {
    let (site, registry) = (Site::new(""), TestRegistry::start().unwrap());
    registry.set_access(basic());
    let host = registry.host();
    let text = format!(r#"{{"auths":{{"{host}":{{"auth":"dXNlcjpwYXNzd29yZA=="}}}}}}"#);
    fs::create_dir_all(site.path("home/.config/containers")).unwrap();
    fs::write(site.path("home/.config/containers/auth.json"), &text).unwrap();
    slipway(&site, &["login", &host], "").success();
    fs::rename(site.path("home/.config/containers/auth.json"), site.path("elsewhere.json")).unwrap();
    slipway(&site, &["login", &host], "").failure();
    run(site.slipway().env("REGISTRY_AUTH_FILE", site.path("elsewhere.json")).args(["login", &host])).success();
}

fn a_password_is_typed_unseen() {
    let (site, registry) = (Site::new(""), TestRegistry::start().unwrap());
    registry.set_access(basic());
    let mut typist = Typist::start(site.slipway().args(["login", &registry.host()]));
    typist.wait_for("Username: ");
    typist.types("user");
    typist.wait_for("Password: ");
    typist.types("password");
    let (code, screen) = typist.end();
    assert_eq!(code, Some(0), "{screen}");
    assert!(screen.contains("Login Succeeded") && !screen.contains("password"), "{screen}");
    assert!(config(&site).contains("dXNlcjpwYXNzd29yZA=="));
}

fn mistakes_have_dockers_words() {
    let site = Site::new("");
    for (arguments, text) in [
        (
            &["-u", "u", "-p", "p", "--password-stdin"][..],
            "conflicting options: cannot specify both --password and --password-stdin\n",
        ),
        (&["--password-stdin"], "the --password-stdin option requires --username to be set\n"),
        (&["-u", ""], "username is empty\n"),
        (&["-u", "u"], "Error: Cannot perform an interactive login from a non TTY device\n"),
        (&["-u", "u", "--password-stdin"], "Error: Cannot perform an interactive login from a non TTY device\n"),
    ] {
        let words = [&["login"], arguments, &["127.0.0.1:1"]].concat();
        assert_eq!(slipway(&site, &words, "").failure(), text, "{arguments:?}");
    }
    let stderr = slipway(&site, &["login", "-u", "u", "-p", "", "127.0.0.1:1"], "").failure();
    assert!(stderr.ends_with("password is empty\n"), "{stderr}");
    let stderr = slipway(&site, &["login", "a", "b"], "").failure();
    assert!(stderr.starts_with("slipway: 'slipway login' requires at most 1 argument\n"), "{stderr}");
    fs::create_dir(site.path("home/.docker")).unwrap();
    fs::write(site.path("home/.docker/config.json"), "{").unwrap();
    let stderr = slipway(&site, &["logout", "a.example"], "").success().stderr;
    assert!(stderr.contains("is no Docker configuration"), "{stderr}");
    assert_eq!(config(&site), "{");
}
