//! Credentials: used where they belong, and seen by nobody else.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use slipway_registry::{ClientConfig, ErrorKind, Registry};
use slipway_test::registry::{Access, TestRegistry};

use crate::support::{
    PASSWORD_HEADER, authorizations, blob, bytes, client, client_with_password, config, image, reference,
};

fn basic() -> Access {
    Access::Basic { username: "user".to_owned(), password: "password".to_owned() }
}

fn tokens_from(realm: String, is_public: bool) -> Access {
    match Access::bearer(is_public) {
        Access::Bearer { username, password, expires_in_seconds, .. } => {
            Access::Bearer { realm: Some(realm), username, password, is_public, expires_in_seconds }
        }
        other => other,
    }
}

fn n_token_requests(registry: &TestRegistry) -> usize {
    registry.requests().iter().filter(|request| request.target.starts_with("/token")).count()
}

#[test]
fn a_password_opens_a_basic_registry() {
    let registry = TestRegistry::start().unwrap();
    registry.set_access(basic());
    let (_, layer) = image(&registry, b"x");
    let client = client_with_password(&registry.host());
    client.resolve(&reference(&registry, "app:1")).unwrap();
    client.blob(&reference(&registry, "app:1"), &layer).unwrap().finish().unwrap();
    // The first request learns what is asked for, later ones come with it.
    let headers: Vec<_> = registry.requests().into_iter().map(|request| request.authorization).collect();
    let sent = Some(PASSWORD_HEADER.to_owned());
    assert_eq!(headers, [None, sent.clone(), sent]);
}

#[test]
fn without_a_password_access_is_denied() {
    let registry = TestRegistry::start().unwrap();
    image(&registry, b"x");
    for access in [basic(), Access::bearer(false)] {
        registry.set_access(access);
        let error = client().resolve(&reference(&registry, "app:1")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        let text = "pull access denied, repository does not exist or may require authorization: unauthorized";
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn public_images_need_an_anonymous_token_only() {
    let registry = TestRegistry::start().unwrap();
    image(&registry, b"x");
    registry.set_access(Access::bearer(true));
    client().resolve(&reference(&registry, "app:1")).unwrap();
    assert!(authorizations(&registry).iter().all(|header| header.starts_with("Bearer ")));
}

#[test]
fn a_token_is_fetched_once_and_used_until_it_ends() {
    let registry = TestRegistry::start().unwrap();
    let (_, layer) = image(&registry, b"x");
    registry.set_access(Access::bearer(false));
    let client = client_with_password(&registry.host());
    for _ in 0..3 {
        client.resolve(&reference(&registry, "app:1")).unwrap();
        client.blob(&reference(&registry, "app:1"), &layer).unwrap().finish().unwrap();
    }
    assert_eq!(n_token_requests(&registry), 1);

    let Access::Bearer { realm, username, password, is_public, .. } = Access::bearer(false) else { unreachable!() };
    registry.set_access(Access::Bearer { realm, username, password, is_public, expires_in_seconds: 0 });
    let client = client_with_password(&registry.host());
    registry.forget_requests();
    for _ in 0..3 {
        client.resolve(&reference(&registry, "app:1")).unwrap();
    }
    assert_eq!(n_token_requests(&registry), 3);
}

#[test]
fn a_token_that_is_refused_is_renewed() {
    let registry = TestRegistry::start().unwrap();
    image(&registry, b"x");
    registry.set_access(Access::bearer(false));
    let client = client_with_password(&registry.host());
    client.resolve(&reference(&registry, "app:1")).unwrap();
    registry.revoke_tokens();
    client.resolve(&reference(&registry, "app:1")).unwrap();
    assert_eq!(n_token_requests(&registry), 2);
}

/// Whether a blob comes over several connections, or over one that breaks.
#[test]
fn a_token_that_ends_while_a_blob_arrives_is_renewed() {
    for n_bytes in [20 << 20, 2 << 20] {
        let registry = TestRegistry::start().unwrap();
        let content = bytes(n_bytes);
        let layer = blob(&registry, &content);
        registry.set_access(Access::bearer(false));
        registry.cut_next_blobs(1, 1 << 20);
        let client = client_with_password(&registry.host());
        let mut source = client.blob(&reference(&registry, "app:1"), &layer).unwrap();
        let mut arrived = vec![0; 1 << 19];
        source.read_exact(&mut arrived).unwrap();
        registry.revoke_tokens();
        source.read_to_end(&mut arrived).unwrap();
        assert!(arrived == content);
        assert!(n_token_requests(&registry) >= 2, "{:?}", registry.requests());
    }
}

#[test]
fn wrong_passwords_still_pull_what_is_public() {
    let registry = TestRegistry::start().unwrap();
    image(&registry, b"x");
    registry.set_access(Access::bearer(true));
    let config = ClientConfig {
        // wrong:wrong
        docker_auth_config: Some(format!(r#"{{"auths":{{"{}":{{"auth":"d3Jvbmc6d3Jvbmc="}}}}}}"#, registry.host())),
        ..config()
    };
    let client = Registry::new(config);
    client.resolve(&reference(&registry, "app:1")).unwrap();

    registry.set_access(Access::bearer(false));
    let client = Registry::new(ClientConfig { docker_auth_config: None, ..crate::support::config() });
    let error = client.resolve(&reference(&registry, "app:1")).unwrap_err();
    assert!(error.to_string().contains("refused by the token service"), "{error}");
}

#[test]
fn a_refresh_token_is_exchanged() {
    let registry = TestRegistry::start().unwrap();
    image(&registry, b"x");
    registry.set_access(Access::bearer(false));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    let host = registry.host();
    fs::write(&path, format!(r#"{{"auths":{{"http://{host}/v1/":{{"identitytoken":"refresh-password"}}}}}}"#)).unwrap();
    let client = Registry::new(ClientConfig { docker_config: Some(path), ..config() });
    client.resolve(&reference(&registry, "app:1")).unwrap();
    let posts: Vec<_> = registry.requests().into_iter().filter(|request| request.method == "POST").collect();
    assert_eq!(posts.len(), 1);
    assert_eq!(posts[0].target, "/token");
}

#[test]
fn a_helper_program_is_asked() {
    let registry = TestRegistry::start().unwrap();
    image(&registry, b"x");
    registry.set_access(basic());
    let dir = tempfile::tempdir().unwrap();
    let helper = dir.path().join("docker-credential-slipway-test");
    let host = registry.host();
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = get ] && [ \"$(/bin/cat)\" = '{host}' ] && \
         echo '{{\"ServerURL\":\"x\",\"Username\":\"user\",\"Secret\":\"password\"}}'\n"
    );
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let path = dir.path().join("config.json");
    fs::write(&path, r#"{"credsStore":"slipway-test"}"#).unwrap();
    let client = Registry::new(ClientConfig {
        docker_config: Some(path),
        helper_path: Some(dir.path().as_os_str().to_owned()),
        ..config()
    });
    client.resolve(&reference(&registry, "app:1")).unwrap();
    assert_eq!(client.warnings(), Vec::<String>::new());
}

#[test]
fn a_denial_names_the_file_or_helper_of_the_credentials() {
    let registry = TestRegistry::start().unwrap();
    image(&registry, b"x");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    let host = registry.host();
    let helper = r#"printf '{"Username":"user","Secret":"wrong"}'"#;
    let helper_file = dir.path().join("docker-credential-test");
    std::fs::write(&helper_file, format!("#!/bin/sh\n{helper}\n")).unwrap();
    std::fs::set_permissions(&helper_file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for access in [basic(), Access::bearer(false)] {
        registry.set_access(access);
        for (config_json, source) in [
            // `user:wrong`
            (format!(r#"{{"auths":{{"{host}":{{"auth":"dXNlcjp3cm9uZw=="}}}}}}"#), path.display().to_string()),
            (format!(r#"{{"credHelpers":{{"{host}":"test"}}}}"#), "docker-credential-test".to_owned()),
        ] {
            std::fs::write(&path, config_json).unwrap();
            let helper_path = Some(dir.path().as_os_str().to_owned());
            let client = Registry::new(ClientConfig { docker_config: Some(path.clone()), helper_path, ..config() });
            let error = client.resolve(&reference(&registry, "app:1")).unwrap_err().to_string();
            assert!(error.contains(&format!("the credentials for {host} come from `{source}`")), "{error}");
            assert!(!error.contains("wrong"), "{error}");
        }
    }
}

#[test]
fn a_token_service_on_another_site_sees_no_credentials() {
    let registry = TestRegistry::start().unwrap();
    let stranger = TestRegistry::start().unwrap();
    image(&registry, b"x");
    // The same machine under another name: to the client, another site.
    let realm = format!("http://localhost:{}/token", stranger.host().rsplit(':').next().unwrap());
    stranger.set_access(Access::bearer(true));
    registry.set_access(tokens_from(realm, true));
    client_with_password(&registry.host()).resolve(&reference(&registry, "app:1")).unwrap();
    assert_eq!(n_token_requests(&stranger), 1);
    assert_eq!(authorizations(&stranger), Vec::<String>::new());
}

#[test]
fn a_denial_says_that_credentials_were_held_back() {
    let registry = TestRegistry::start().unwrap();
    let stranger = TestRegistry::start().unwrap();
    image(&registry, b"x");
    let realm = format!("http://localhost:{}/token", stranger.host().rsplit(':').next().unwrap());
    stranger.set_access(Access::bearer(false));
    registry.set_access(tokens_from(realm, false));
    let error = client_with_password(&registry.host()).resolve(&reference(&registry, "app:1")).unwrap_err();
    assert!(error.to_string().contains("were not sent to its token service at localhost"), "{error}");
    assert_eq!(authorizations(&stranger), Vec::<String>::new());
}

#[test]
fn a_token_service_on_the_same_host_sees_them() {
    let registry = TestRegistry::start().unwrap();
    let tokens = TestRegistry::start().unwrap();
    image(&registry, b"x");
    tokens.set_access(Access::bearer(false));
    registry.set_access(tokens_from(format!("{}/token", tokens.url()), false));
    client_with_password(&registry.host()).resolve(&reference(&registry, "app:1")).unwrap();
    assert_eq!(authorizations(&tokens), [PASSWORD_HEADER]);
}

#[test]
fn a_redirect_takes_no_credentials_along() {
    let registry = TestRegistry::start().unwrap();
    let storage = TestRegistry::start().unwrap();
    let content = bytes(10_000);
    let (_, layer) = image(&registry, &content);
    storage.put_blob("app", &content).unwrap();
    registry.set_access(basic());
    registry.redirect_blobs_to(storage.url());
    let client = client_with_password(&registry.host());
    client.resolve(&reference(&registry, "app:1")).unwrap();
    let mut pulled = Vec::new();
    client.blob(&reference(&registry, "app:1"), &layer).unwrap().read_to_end(&mut pulled).unwrap();
    assert_eq!(pulled, content);
    assert_eq!(storage.requests().len(), 1);
    assert_eq!(authorizations(&storage), Vec::<String>::new());
}

#[test]
fn a_challenge_behind_a_redirect_is_not_answered() {
    let registry = TestRegistry::start().unwrap();
    let stranger = TestRegistry::start().unwrap();
    let (_, layer) = image(&registry, b"x");
    stranger.set_access(basic());
    registry.redirect_blobs_to(stranger.url());
    let client = client_with_password(&registry.host());
    assert!(client.blob(&reference(&registry, "app:1"), &layer).is_err());
    assert_eq!(authorizations(&stranger), Vec::<String>::new());
    assert_eq!(n_token_requests(&stranger), 0);
}
